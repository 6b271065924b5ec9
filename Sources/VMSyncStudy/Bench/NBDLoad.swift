import Foundation
import VMSyncCore
import VMSyncMachine

/// What a client does to a disk for a while, always with 16 requests in flight, as many as QEMU sends.
enum NBDLoad: String, Sendable, CaseIterable, Codable {
    case readSequential = "fio, read 1 MiB in order"
    case writeSequential = "fio, write 1 MiB in order"
    case readRandom = "fio, read 4 KiB at random"
    case writeRandom = "fio, write 4 KiB at random"
    /// The client's code is that of a guest's disk.
    case qemuRead = "qemu-img bench, read 4 KiB in order"
    case qemuWrite = "qemu-img bench, write 4 KiB in order"

    private static let depth = 16
    /// `qemu-img bench` takes a number of requests: enough for about a second, so that a slow server isn't waited for.
    private static let requestsPerSecond = 20_000

    /// What speeds are counted in.
    var unit: String {
        switch self {
        case .readSequential, .writeSequential: "MB/s"
        case .readRandom, .writeRandom, .qemuRead, .qemuWrite: "requests/s"
        }
    }

    /// Writes every block once, and has it all on the disk below.
    static func fill(_ uri: String, bytes: Int) async throws {
        _ = try await fio(uri, ["--rw=write", "--bs=1m", "--size=\(bytes)", "--end_fsync=1"])
    }

    /// Runs the load and gives the speed in `unit`.
    func speed(of uri: String, bytes: Int, seconds: Int, seed: Int) async throws -> Double {
        let words = ["--size=\(bytes)", "--time_based", "--runtime=\(seconds)", "--randseed=\(seed + 1)"]
        switch self {
        case .readSequential: return try await Self.fio(uri, words + ["--rw=read", "--bs=1m"]).read.megabytes
        case .writeSequential: return try await Self.fio(uri, words + ["--rw=write", "--bs=1m"]).write.megabytes
        case .readRandom: return try await Self.fio(uri, words + ["--rw=randread", "--bs=4k"]).read.iops
        case .writeRandom: return try await Self.fio(uri, words + ["--rw=randwrite", "--bs=4k"]).write.iops
        case .qemuRead: return try await Self.qemuImgBench(uri, seconds)
        case .qemuWrite: return try await Self.qemuImgBench(uri, seconds, ["-w"])
        }
    }
}

// MARK: - The clients

extension NBDLoad {
    private struct FioReport: Decodable {
        struct Job: Decodable {
            let read: Direction
            let write: Direction
        }

        struct Direction: Decodable {
            let bw_bytes: Double
            let iops: Double
            var megabytes: Double { bw_bytes / 1e6 }
        }

        let jobs: [Job]
    }

    private static func fio(_ uri: String, _ arguments: [String]) async throws -> FioReport.Job {
        let output = try await QEMUTool.run(
            "fio",
            ["--name=load", "--ioengine=nbd", "--uri=\(uri)", "--iodepth=\(depth)", "--output-format=json"]
                + arguments, package: "fio")
        // Remarks may stand before the report.
        let report = try? JSONDecoder().decode(FioReport.self, from: Data(output.drop { $0 != "{" }.utf8))
        guard let job = report?.jobs.first else { throw VMSyncError(.machine, "fio gave no report: \(output)") }
        return job
    }

    private static func qemuImgBench(_ uri: String, _ seconds: Int, _ more: [String] = []) async throws -> Double {
        let count = requestsPerSecond * seconds
        let output = try await QEMUTool.run(
            "qemu-img", ["bench", "-f", "raw", "-c", "\(count)", "-d", "\(depth)", "-s", "4096"] + more + [uri],
            package: "qemu-utils")
        guard let match = output.firstMatch(of: /completed in ([0-9.]+) seconds/), let taken = Double(match.1),
            taken > 0
        else { throw VMSyncError(.machine, "qemu-img bench gave no time: \(output)") }
        return Double(count) / taken
    }
}
