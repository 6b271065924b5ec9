import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle
import UnixSignals
import VMSyncAPI
import VMSyncCore
import VMSyncServer

struct ServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server", abstract: "The sync server in the middle.", subcommands: [Run.self, Invite.self])

    /// What both subcommands take.
    struct DataOptions: ParsableArguments {
        @Option(
            name: .customLong("data"),
            help: "The folder that keeps everything. (default: $XDG_STATE_HOME/vmsync-server)")
        var data: String?

        var dataFolder: String {
            let environment = ProcessInfo.processInfo.environment
            let states = environment["XDG_STATE_HOME"] ?? (environment["HOME"] ?? "/tmp") + "/.local/state"
            return data ?? "\(states)/vmsync-server"
        }

        @Flag(help: "Print JSON.")
        var json = false
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Run the sync server until it is stopped.")

        @OptionGroup var data: DataOptions

        @Option(help: "Where to listen: a loopback address and a port, 0 for any free one.")
        var listen = "127.0.0.1:7430"

        func run() async throws {
            let (address, port) = try endpoint()
            let configuration = SyncServer.Configuration(address: address, port: port, dataFolder: data.dataFolder)
            let json = data.json
            var logger = Logger(label: "vmsync.server", factory: { StreamLogHandler.standardError(label: $0) })
            logger.logLevel = .notice
            let server = SyncServer(configuration: configuration, logger: logger) { Self.announce($0, json: json) }
            let group = ServiceGroup(
                configuration: .init(
                    services: [.init(service: server)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
            try await group.run()
        }

        private func endpoint() throws -> (String, Int) {
            guard let colon = listen.lastIndex(of: ":"), let port = UInt16(listen[listen.index(after: colon)...]) else {
                throw ValidationError("--listen takes ADDRESS:PORT, such as 127.0.0.1:7430")
            }
            return (listen[..<colon].trimmingCharacters(in: ["[", "]"]), Int(port))
        }

        private static func announce(_ listening: SyncServer.Listening, json: Bool) {
            if json { return printLine(asJSON: listening) }
            print("listening on \(listening.listening)")
            if let invitation = listening.invitation {
                print("no device has joined yet; on the first one: vmsync join \(listening.listening) \(invitation)")
            }
            fflush(nil)
        }
    }

    struct Invite: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let one more device join.")

        @OptionGroup var data: DataOptions

        func run() async throws {
            let invitation = try await SyncServer.invite(dataFolder: data.dataFolder)
            if data.json { return printLine(asJSON: invitation) }
            print("\(invitation.invitation)  (once, within 24 hours)")
        }
    }
}

/// One line of JSON, there at once for who reads the pipe.
private func printLine(asJSON value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if let line = try? encoder.encode(value) { print(String(decoding: line, as: UTF8.self)) }
    fflush(nil)
}
