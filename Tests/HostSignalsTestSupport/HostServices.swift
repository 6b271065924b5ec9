import Foundation
import HostSignals
import Synchronization

/// Real services of a host in namespaces of their own, by `scripts/host-services.sh`; they end with the test.
package final class HostServices: Sendable {
    package enum Kind: String {
        /// The bus and logind, which can suspend as far as it knows.
        case sleep
        /// The bus, NetworkManager, and a router on the other end of the cable `va`.
        case network
        /// The bus and Avahi, and another host with both on the other end of a cable: 10.8.0.1 and 10.8.0.2.
        case neighbours
    }

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private let process: Process
    private let input: FileHandle
    private let output: FileHandle
    private let folder: String
    /// Runs what waits for the script.
    private let queue = DispatchQueue(label: "host-services")

    /// Runs `body` beside the services.
    package static func with(_ kind: Kind, _ body: (HostServices) async throws -> Void) async throws {
        let services = try HostServices(kind)
        do {
            let word = await services.line()
            guard word == "ready" else { throw Failure(description: word ?? "host-services.sh ended") }
            try await body(services)
        } catch {
            let log = try? String(contentsOfFile: services.log, encoding: .utf8)
            await services.stop()
            throw Failure(description: "\(error)\n\(log ?? "")")
        }
        await services.stop()
    }

    private init(_ kind: Kind) throws {
        folder = "/tmp/vmsync-test-\(UUID().uuidString.prefix(8))"
        let (input, output) = (Pipe(), Pipe())
        process = Process()
        process.executableURL =
            URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../scripts/host-services.sh").standardizedFileURL
        process.arguments = [kind.rawValue, folder]
        process.standardInput = input
        process.standardOutput = output
        self.input = input.fileHandleForWriting
        self.output = output.fileHandleForReading
        try process.run()
        // Else the end of its output is never seen.
        try output.fileHandleForWriting.close()
    }

    /// The end of its input ends the script, and with it all that it started.
    private func stop() async {
        try? input.close()
        while await line() != nil {}
        process.waitUntilExit()
    }

    package var bus: String { "unix:path=\(folder)/run/dbus/system_bus_socket" }
    package var neighbourBus: String { "unix:path=\(folder)/neighbour/bus" }
    package var log: String { "\(folder)/log" }

    /// The kernel's files as the services see them, but for the host's load, which is everybody's.
    package var paths: HostPaths {
        let process = "/proc/\(process.processIdentifier)"
        return HostPaths(sys: "\(process)/root/sys", proc: "/proc", net: "\(process)/net")
    }

    /// How often `text` stands in what the services have said.
    package func count(of text: String) throws -> Int {
        try String(contentsOfFile: log, encoding: .utf8).components(separatedBy: text).count - 1
    }

    /// Runs a line of shell beside the services.
    package func run(_ command: String) async throws {
        try input.write(contentsOf: Data("\(command)\n".utf8))
        let answer = await line()
        guard answer == "done 0" else {
            throw Failure(description: "\(command): \(answer ?? "host-services.sh ended")")
        }
    }

    private func line() async -> String? {
        await withCheckedContinuation { continuation in
            queue.async { [output] in
                var bytes: [UInt8] = []
                while let byte = try? output.read(upToCount: 1)?.first {
                    if byte == UInt8(ascii: "\n") {
                        return continuation.resume(returning: String(decoding: bytes, as: UTF8.self))
                    }
                    bytes.append(byte)
                }
                continuation.resume(returning: nil)
            }
        }
    }
}
