import Foundation
import VMSyncCore

/// A running desktop that plays a film goes to another machine over a slow link: by `vmsync switch`, and by QEMU's own
/// live migration in its four forms.
///
/// The source is on the near side of one `ShapedLink`, the target on the far side, and for us the sync server too: state
/// crosses the link once, in both systems. What is in QEMU's favour: its target has the disk without sending it.
package struct SwitchBench: Sendable {
    /// Of the link, in each direction; a usual uplink of a home or an office.
    package var megabits = 100
    /// Moves of our VM, to and fro.
    package var switches = 20
    /// Of undisturbed syncing before each move.
    package var secondsBetween = 3
    /// After which a live migration is given up. A gigabyte takes 86 s at 100 Mbit/s: every page went over once.
    package var migrationLimit = 90
    /// What is tried of QEMU.
    package var migrations = LiveMigration.allCases
    /// Where QEMU's disk and sockets are, in a folder that is gone afterwards.
    package var folder = NSTemporaryDirectory()
    let guest: DesktopGuest
    /// Called with what is being done, and with what came out.
    let say: @Sendable (String) -> Void

    package init(guest: DesktopGuest, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.say = say
    }

    /// - Parameter program: the `vmsync` to run.
    /// - Throws: `unauthorized` unless root calls: the link is a network of its own.
    package func run(program: String) async throws -> SwitchBenchReport {
        try await ShapedLink.with { link in
            var report = SwitchBenchReport(bench: self)
            report.switches = try await moveByVMSync(program, over: link)
            report.migrations = try await moveByQEMU(over: link)
            report.noteLoad()
            return report
        }
    }
}
