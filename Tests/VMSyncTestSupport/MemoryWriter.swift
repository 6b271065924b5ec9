import Foundation
import VMSyncCore
import VMSyncMachine

/// A process that writes to pages all over a memory file, watched as QEMU is: what a guest does, faster.
package struct MemoryWriter {
    private static let source = """
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/mman.h>

        int main(int count, char **arguments) {
            size_t length = strtoull(arguments[2], NULL, 10);
            int file = open(arguments[1], O_RDWR);
            volatile char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (memory == MAP_FAILED) return 1;
            for (unsigned state = 1;; state = state * 1664525 + 1013904223)
                memory[(state >> 8) % (length >> 12) << 12]++;
        }
        """

    private let process: Process
    package let report: RamwatchReport
    package var pid: Int32 { process.processIdentifier }

    /// - Parameter memory: bytes of it.
    package static func start(memory: UInt64, in folder: String) async throws -> MemoryWriter {
        let (program, ram, reported) = (folder + "/writer", folder + "/ram", folder + "/report")
        try source.write(toFile: program + ".c", atomically: true, encoding: .utf8)
        try await QEMUTool.run("cc", ["-O1", "-o", program, program + ".c"], package: "gcc")
        _ = FileManager.default.createFile(atPath: ram, contents: nil)
        try FileHandle(forWritingTo: URL(filePath: ram)).truncate(atOffset: memory)

        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = [ram, "\(memory)"]
        process.environment = [
            "LD_PRELOAD": try await Ramwatch.build(in: folder), "VMSYNC_RAM": ram, "VMSYNC_RAMWATCH_REPORT": reported,
        ]
        try process.run()
        // The report is there as soon as the process has its memory; half written, it is none yet.
        let deadline = ContinuousClock.now + .seconds(20)
        while true {
            do {
                return MemoryWriter(process: process, report: try RamwatchReport(file: reported, memory: memory))
            } catch {
                guard process.isRunning, ContinuousClock.now < deadline else {
                    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
                    throw error
                }
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Returns when it writes no more; `stop` ends it all the same.
    package func pause() async throws {
        kill(pid, SIGSTOP)
        // proc_pid_stat(5): the state follows the name, which stands in parentheses.
        while try !String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8).contains(") T ") {
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    package func stop() {
        // Not SIGTERM, which a thread of a Swift program blocks, and with it what it starts.
        kill(pid, SIGKILL)
        process.waitUntilExit()
    }
}
