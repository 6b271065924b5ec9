import ArgumentParser
import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncDevice

/// What every command of a device takes.
struct CommonOptions: ParsableArguments {
    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "The device's state folder. (default: $XDG_STATE_HOME/vmsync)")
    var state: String?

    @Flag(help: "Show no progress.")
    var noProgress = false

    var folders: DeviceFolders { DeviceFolders(state: state ?? ProcessInfo.processInfo.environment["VMSYNC_STATE"]) }

    /// Calls `body` with a client of the daemon, which is started if none runs.
    func withDaemon<Result>(_ body: (ControlClient) async throws -> Result) async throws -> Result {
        try await DaemonLauncher.ensureRunning(folders)
        return try await ControlClient.with(socket: folders.control, body)
    }

    /// Does a step that may take long, with its progress on stderr.
    func run<Answer: Decodable>(
        _ client: ControlClient, _ path: String, _ message: some Encodable, as type: Answer.Type = Answer.self
    ) async throws -> Answer {
        let show = !noProgress
        defer { ProgressLine.shared.end() }
        return try await client.run(path, message, as: type) { if show { ProgressLine.shared.show($0) } }
    }

    var logger: Logger {
        var logger = Logger(label: "vmsync", factory: { StreamLogHandler.standardError(label: $0) })
        let level = ProcessInfo.processInfo.environment["VMSYNC_LOG"] ?? "notice"
        logger.logLevel = Logger.Level(rawValue: level) ?? .notice
        return logger
    }
}

/// A VM by name, id, or unique beginning of its id.
struct VMArgument: ParsableArguments {
    @Argument(help: "Name of the VM.")
    var name: String

    /// The path of one of its verbs.
    func path(_ verb: String) -> String {
        let safe = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? name
        return "\(ControlPath.vms)/\(safe)/\(verb)"
    }
}
