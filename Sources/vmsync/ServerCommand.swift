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

        @Option(
            help: """
                A PostgreSQL database for the metadata, as postgres://USER@HOST/DATABASE, which several servers may share. \
                A password is better in ~/.pgpass or PGPASSWORD. (default: $VMSYNC_METADATA, else in the data folder)
                """)
        var metadata: String?

        @Option(
            help: """
                A bucket for everything else, as s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME, which several \
                servers may share; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY open it. Further: style=path or host, \
                ca=FILE. (default: $VMSYNC_BLOBS, else in the data folder)
                """)
        var blobs: String?

        private var dataFolder: String {
            let environment = ProcessInfo.processInfo.environment
            let states = environment["XDG_STATE_HOME"] ?? (environment["HOME"] ?? "/tmp") + "/.local/state"
            return data ?? "\(states)/vmsync-server"
        }

        func places() throws -> StorePlaces {
            let environment = ProcessInfo.processInfo.environment
            return try StorePlaces(
                metadata: metadata ?? environment["VMSYNC_METADATA"], blobs: blobs ?? environment["VMSYNC_BLOBS"],
                dataFolder: dataFolder)
        }

        @Flag(help: "Print JSON.")
        var json = false
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Run the sync server until it is stopped.")

        @OptionGroup var data: DataOptions

        @Option(
            help: "Where to listen: an address of this machine, or 0.0.0.0 for all, and a port, 0 for any free one.")
        var listen = "127.0.0.1:7430"

        @Option(help: "Where devices reach this server, as https://HOST:PORT. (default: where it listens)")
        var advertise: String?

        func run() async throws {
            let (address, port) = try endpoint()
            var configuration = SyncServer.Configuration(
                address: address, port: port, places: try data.places(),
                environment: ProcessInfo.processInfo.environment)
            configuration.advertised = try advertised(address, port)
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

        /// Who listens everywhere says by its name where it is, if nobody says better.
        private func advertised(_ address: String, _ port: Int) throws -> String? {
            if let advertise {
                guard let parts = URLComponents(string: advertise), parts.scheme == "https", parts.host != nil,
                    parts.path.isEmpty, parts.query == nil, parts.fragment == nil
                else { throw ValidationError("--advertise takes https://HOST:PORT") }
                return advertise
            }
            guard address == "0.0.0.0" || address == "::" else { return nil }
            guard port != 0 else { throw ValidationError("--listen \(listen) needs --advertise https://HOST:PORT") }
            return "https://\(ProcessInfo.processInfo.hostName):\(port)"
        }

        private static func announce(_ listening: SyncServer.Listening, json: Bool) {
            if json { return printLine(asJSON: listening) }
            print("listening on \(listening.listening)")
            if let invitation = listening.invitation {
                print(
                    "nobody has joined yet; on the first device:\n  vmsync join '\(listening.listening)' \(invitation)")
            }
            fflush(nil)
        }
    }

    struct Invite: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let one more person make an account, with their first device.")

        @OptionGroup var data: DataOptions

        func run() async throws {
            let invitation = try await SyncServer.invite(to: try data.places())
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
