#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCore

/// A QEMU process that is nobody's child: it daemonized itself, so that it outlives the daemon.
package struct QEMUProcess: Sendable, Hashable {
    package let pid: Int32

    /// The process whose pid file and QMP socket `paths` names, if it still lives.
    ///
    /// A pid may belong to another program by now, so the command line must name our QMP socket.
    package static func find(_ paths: MachinePaths) -> QEMUProcess? {
        guard let text = try? String(contentsOfFile: paths.pidFile, encoding: .utf8),
            let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)), pid > 1,
            let command = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
            command.range(of: Data(paths.qmp.utf8)) != nil
        else { return nil }
        return QEMUProcess(pid: pid)
    }

    package var isAlive: Bool {
        // A zombie has no command line any more.
        FileManager.default.contents(atPath: "/proc/\(pid)/cmdline").map { !$0.isEmpty } ?? false
    }

    /// Returns when the process is gone; after `limit` it is killed.
    package func waitGone(killAfter limit: Duration) async {
        let clock = ContinuousClock()
        let deadline = clock.now + limit
        var killed = false
        while isAlive {
            if !killed, clock.now > deadline {
                kill(pid, SIGKILL)
                killed = true
            }
            // Shielded: a cancelled caller must still not leave a QEMU behind that writes into the memory file.
            await Task { try? await Task.sleep(for: .milliseconds(5)) }.value
        }
    }

    /// The end of QEMU's own log, for an error message.
    package static func lastWords(_ paths: MachinePaths) -> String {
        let text = (try? String(contentsOfFile: paths.qemuLog, encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").last.map(String.init) ?? "none"
        return String(line.suffix(300))
    }
}
