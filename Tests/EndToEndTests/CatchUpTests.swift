import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// A device that was away comes back. (docs/protocol/catch-up.md)
    @Suite(.timeLimit(.minutes(15)), .enabled(if: geteuid() == 0, "only root can make a network"))
    struct CatchUpTests {
        /// Of the bytes of the packs that it has missed, what a device fetches at most.
        private static let share = 0.3
        private static let missed: UInt64 = 600

        /// A, which runs the VM, the server and perhaps a mirror, M, are on the far side of a slow link. B, on the near side, is
        /// away while many checkpoints are made.
        private static func withMissedCheckpoints(
            mirror: Bool, _ body: (Trial, ShapedLink, _ missed: Int) async throws -> Void
        ) async throws {
            let guest = try await World.guest()
            try await ShapedLink.with { link in
                try await Trial.with(program: try World.program(), link: link) { trial in
                    try await trial.startServer()
                    try await trial.addDevice("A", isFar: true, interval: 0.1)
                    try await trial.addDevice("B")
                    if mirror { try await trial.addDevice("M", isFar: true, isMirror: true) }
                    try await trial.create(guest)
                    try await trial.tell("A", "start", Done())
                    var stage = try await Stage(trial, active: "A", standby: "B")
                    // It has booted.
                    try await stage.waitForGuest(counts: 12)
                    try await trial.waitUntilReady("B")
                    try await link.slowDown(toMegabits: 3)
                    await trial.endDaemon("B", SIGTERM)
                    let start = try #require(try await trial.vm("A")).head
                    _ = try await waitFor("the checkpoints to be made", for: .seconds(300)) {
                        try await trial.vm("A").flatMap {
                            $0.head.rawValue >= start.rawValue + Self.missed ? true : nil
                        }
                    }
                    // From here on little is added.
                    let set = try await trial.vmsync("A", "policy", "set", Stage.vmName, "--every", "1h")
                    #expect(set.code == 0, "\(set.errors)")
                    await trial.endDaemon("A", SIGTERM)
                    try await trial.startDaemon("A", interval: nil)
                    // A daemon that finds its VM running makes a checkpoint of what nobody has watched meanwhile.
                    _ = try await waitFor("the checkpoint of the new daemon") {
                        try await trial.vm("A").flatMap { $0.lastCheckpoint != nil ? true : nil }
                    }
                    let entries = try await trial.control("A") {
                        try await $0.get("/vms/\(Stage.vmName)/history", as: [HistoryEntry].self)
                    }
                    let missed = entries.filter { $0.sequence > start }
                    try #require(missed.count >= Self.missed)
                    try await body(trial, link, missed.reduce(0) { $0 + Int($1.bytes ?? 0) })
                }
            }
        }

        @Test(arguments: [true, false])
        func whoWasAwayForSixHundredCheckpointsFetchesOnePackInTheirPlace(mirror: Bool) async throws {
            try await Self.withMissedCheckpoints(mirror: mirror) { trial, link, missed in
                let head = try #require(try await trial.vm("A")).head
                let before = try link.bytes()
                try await trial.startDaemon("B")
                try await trial.waitUntilReady("B", atLeast: head)
                let fetched = try link.bytes() - before
                print("caught up: \(fetched) bytes for packs of \(missed), \(Double(fetched) / Double(missed))")
                #expect(Double(fetched) <= Self.share * Double(missed))
                // It is a state like any other: the VM goes on from it.
                var stage = try await Stage(trial, active: "A", standby: "B")
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                guard mirror else { return }
                let devices = try await trial.vmsync("B", "devices", "--json")
                #expect(devices.output.contains(#/"mirror" *: *true/#))
                for command in [
                    ["switch", Stage.vmName, "--to", "M"], ["switch", Stage.vmName, "--to", "M", "--cold"],
                ] {
                    let refused = try await trial.vmsync("B", command)
                    #expect(refused.code != 0 && refused.errors.contains("mirror"), "\(refused.errors)")
                }
                let started = try await trial.vmsync("M", "start", Stage.vmName)
                #expect(started.code != 0 && started.errors.contains("mirror"), "\(started.errors)")
                try await stage.waitForGuest(counts: 3)
            }
        }
    }
}
