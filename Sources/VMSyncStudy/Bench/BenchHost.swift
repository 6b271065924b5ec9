import Foundation
import VMSyncCore
import VMSyncMachine

/// The machine that measures.
package struct BenchHost: Sendable, Codable {
    package var date: String
    package var processor: String
    package var cores: Int
    package var memory: UInt64
    package var kernel: String
    package var qemu: String
    package var accelerator: String
    /// Processes that wanted a processor when it began, as /proc/loadavg says.
    package var load: String

    /// This one, now.
    static func here() async throws -> BenchHost {
        let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let model = cpu.split(separator: "\n").first { $0.hasPrefix("model name") }
            .flatMap { $0.split(separator: ":").last }
        let version = try await QEMUTool.run("qemu-system-x86_64", ["--version"], package: "qemu-system-x86")
        let formatter = DateFormatter()
        formatter.dateFormat = "yyyy-MM-dd"
        formatter.timeZone = TimeZone(identifier: "UTC")
        return BenchHost(
            date: formatter.string(from: Date()), processor: (model ?? "unknown").trimmingCharacters(in: .whitespaces),
            cores: ProcessInfo.processInfo.activeProcessorCount, memory: ProcessInfo.processInfo.physicalMemory,
            kernel: ((try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)) ?? "")
                .trimmingCharacters(in: .whitespacesAndNewlines),
            qemu: version.split(separator: "\n").first.map(String.init) ?? "",
            accelerator: Accelerator.choose(for: .x86_64).rawValue,
            load: ((try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? "")
                .split(separator: " ").prefix(3).joined(separator: " "))
    }

    var rows: [(String, String)] {
        [
            ("date", date), ("processor", "\(processor), \(cores) cores"), ("memory", ByteCount(memory).description),
            ("kernel", kernel), ("machine emulator", "\(qemu), \(accelerator)"), ("load before", load),
            ("command", "`make bench`"),
        ]
    }
}
