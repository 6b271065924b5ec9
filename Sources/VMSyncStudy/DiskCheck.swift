import Foundation
import VMSyncCore
import VMSyncMachine

/// Looks at the disk of a guest that is shut down, from outside: is its file system clean, and is everything there that
/// the guest was told was safe?
package struct DiskCheck: Sendable {
    /// Whether e2fsck finds nothing to mend.
    package let isClean: Bool
    /// Counters in the guest's log.
    package let logged: Set<Int>

    /// - Parameters:
    ///   - socket: of the NBD server that has the disk.
    ///   - folder: where a copy may be made.
    package init(socket: String, folder: String) async throws {
        let copy = "\(folder)/disk-\(Identifier.random().prefix(6)).raw"
        defer { AtomicFile.remove(copy) }
        let address = "nbd+unix:///\(MachinePaths.exportName(0))?socket=\(socket)"
        try await QEMUTool.run(
            "qemu-img", ["convert", "-O", "raw", address, copy], package: "qemu-utils")
        do {
            try await QEMUTool.run("e2fsck", ["-f", "-n", copy], package: "e2fsprogs")
            isClean = true
        } catch let error as VMSyncError where error.hint == nil {
            isClean = false
        }
        let log = try await QEMUTool.run("debugfs", ["-R", "cat /var/witness.log", copy], package: "e2fsprogs")
        logged = Set(log.split(separator: "\n").compactMap { Int($0) })
    }
}
