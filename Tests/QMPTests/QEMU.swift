import Foundation
import Logging
import QMP

/// One real QEMU in a directory of its own, killed and cleaned up when the body of `with` is done.
struct QEMU: Sendable {
    /// A guest that does nothing but whose run state is real: firmware on 32 MiB, paused at its first instruction.
    static let smallPC = ["-machine", "q35", "-accel", "tcg", "-m", "32"]
    static let noMachine = ["-machine", "none"]

    let pid: pid_t
    let directory: String
    var socket: String { directory + "/qmp" }

    static func with<Result>(
        _ arguments: [String] = smallPC, _ body: (QEMU) async throws -> Result
    ) async throws -> Result {
        let directory = try Scratch.make()
        defer { Scratch.remove(directory) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["qemu-system-x86_64"] + arguments + ["-nodefaults", "-display", "none", "-S"]
            + ["-qmp", "unix:\(directory)/qmp,server=on,wait=off"]
        process.standardInput = FileHandle.nullDevice
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        process.terminationHandler = { _ in end.finish() }
        try process.run()
        let result: Swift.Result<Result, any Error>
        do {
            result = .success(try await body(QEMU(pid: process.processIdentifier, directory: directory)))
        } catch {
            result = .failure(error)
        }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        for await _ in ended {}
        return try result.get()
    }

    /// Connects, as soon as the QEMU that was just started listens.
    func connect() async throws -> QMPClient {
        let deadline = ContinuousClock.now + .seconds(20)
        while true {
            do {
                return try await QMPClient.connect(path: socket, logger: .quiet, timeout: .seconds(20))
            } catch QMPError.closed where ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(10))
            }
        }
    }

    func send(signal: Int32) {
        kill(pid, signal)
    }
}

/// Directories with paths short enough for a unix socket.
enum Scratch {
    static func make() throws -> String {
        let name = "qmp-" + UUID().uuidString.prefix(8)
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
        return url.path
    }

    static func remove(_ directory: String) {
        try? FileManager.default.removeItem(atPath: directory)
    }
}

extension Logger {
    /// Says only what would be a fault.
    static var quiet: Logger {
        var logger = Logger(label: "qmp.test")
        logger.logLevel = .error
        return logger
    }
}
