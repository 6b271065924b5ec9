import Foundation
import Testing
import VMSyncCore
import VMSyncTestSupport

/// The `vmsync` executable as a server of its own, which a planted fault kills.
struct ServerProcess {
    let process: Process
    let url: String
    let invitation: String?

    private struct Line: Decodable {
        let listening: String
        let invitation: String?
    }

    /// One that keeps everything in `folder`.
    init(folder: String, port: Int = 0, fault: String? = nil) async throws {
        try await self.init(places: ["--data", folder], port: port, fault: fault)
    }

    /// One on the stores that others may share.
    init(metadata: String, blobs: String, fault: String? = nil) async throws {
        try await self.init(
            places: ["--metadata", metadata, "--blobs", blobs], port: 0, fault: fault,
            environment: TestServers.s3Credentials)
    }

    /// Starts it, and waits for the line that it prints when it listens.
    private init(
        places: [String], port: Int, fault: String?, environment: [String: String] = [:]
    ) async throws {
        process = Process()
        process.executableURL = try Self.executable()
        process.arguments = ["server", "run", "--listen", "127.0.0.1:\(port)", "--json"] + places
        process.environment = environment.merging(["PATH": "/usr/bin:/bin", "VMSYNC_FAULT": fault ?? ""]) { $1 }
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        var line = Data()
        while !line.contains(10) {
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { throw VMSyncError(.machine, "the server ended before it listened") }
            line += more
        }
        let announced = try JSONDecoder().decode(Line.self, from: line)
        (url, invitation) = (announced.listening, announced.invitation)
    }

    /// It stands beside the test bundle, in the folder of all products.
    private static func executable() throws -> URL {
        let bundle = try #require(
            CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments.first)
        let url = URL(fileURLWithPath: bundle).deletingLastPathComponent().appending(path: "vmsync")
        try #require(FileManager.default.isExecutableFile(atPath: url.path), "\(url.path) is not built")
        return url
    }

    /// Waits for its end.
    func wasKilled() async throws -> Bool {
        try await eventually("the server ends") { !process.isRunning }
        return process.terminationReason == .uncaughtSignal && process.terminationStatus == SIGKILL
    }

    func kill() async throws {
        Foundation.kill(process.processIdentifier, SIGKILL)
        _ = try await wasKilled()
    }
}
