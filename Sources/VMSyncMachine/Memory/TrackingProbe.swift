#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// Whether this host tracks writes, found out with a real write in a real QEMU before any VM runs.
package enum TrackingProbe {
    /// Enough for QEMU to make a backend of.
    private static let memory: UInt64 = 1 << 20

    /// Starts a QEMU without a machine whose only memory is watched, and checks its ramwatch's probe.
    /// - Parameters:
    ///   - folder: on the file system of the guests' memory.
    ///   - library: libramwatch.so.
    /// - Throws: the reason why all memory must be compared instead.
    package static func run(folder: String, library: String) async throws {
        let place = "\(folder)/probe-\(Identifier.random().prefix(8))"
        try AtomicFile.makeFolder(place)
        defer { AtomicFile.remove(place) }
        guard let architecture = MachineDefinition.Architecture.host else { return }
        let (ram, report, pidFile) = ("\(place)/ram", "\(place)/ramwatch", "\(place)/pid")
        try await QEMUTool.run(
            architecture.qemuProgram,
            [
                "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S", "-daemonize",
                "-object", "memory-backend-file,id=ram,mem-path=\(ram),size=\(memory >> 20)M,share=on",
                "-pidfile", pidFile,
            ],
            environment: ["LD_PRELOAD": library, "VMSYNC_RAM": ram, "VMSYNC_RAMWATCH_REPORT": report],
            package: architecture.qemuPackage)
        guard let text = try? String(contentsOfFile: pidFile, encoding: .utf8),
            let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)), pid > 1
        else { throw VMSyncError(.machine, "the probe's QEMU ended at once") }
        defer { kill(pid, SIGKILL) }
        _ = try DirtyTracker(pid: pid, report: RamwatchReport(file: report, memory: memory))
    }
}
