import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncStudy
import VMSyncTestSupport

extension EndToEnd {
    /// Two servers on one PostgreSQL database and one bucket of an S3 store.
    @Suite(.timeLimit(.minutes(10))) struct SharedStoreSwitchTests {
        private static let switches = 50

        @Test func fiftySwitchesWhileOneServerThenTheOtherIsKilledLoseNothing() async throws {
            let guest = try await World.guest()
            try await TestServers.withPostgreSQL { metadata in
                let stores = TrialStores.shared(
                    metadata: metadata, blobs: try TestServers.s3(), environment: TestServers.s3Credentials)
                try await Trial.with(program: try World.program(), stores: stores) { trial in
                    for server in 0...1 { try await trial.startServer(server) }
                    for name in ["A", "B"] { try await trial.addDevice(name, interval: 0.5) }
                    try await trial.create(guest)
                    try await trial.tell("A", "start", StartRequest(force: false))
                    var stage = try await Stage(trial, active: "A", standby: "B")
                    try await stage.waitForGuest(counts: 12)
                    try await trial.waitUntilReady("B")
                    let (done, broken) = try await Self.moves(&stage)
                    print("\(done) switches, and \(broken) that a killed server broke off")
                    #expect(done == Self.switches)
                    #expect(try await stage.losses() == [])
                }
            }
        }

        /// Moves the VM to and fro; in every second switch one of the servers is killed, at another moment each time.
        private static func moves(_ stage: inout Stage) async throws -> (done: Int, broken: Int) {
            let trial = stage.trial
            var (done, broken) = (0, 0)
            var random = SeededRandom(seed: 50)
            while done < switches, done + broken < 4 * switches {
                let victim = (done + broken) % 4
                let killer: Task<Void, any Error>? =
                    victim > 1
                    ? nil
                    : Task { [moment = random.number(0..<300)] in
                        try await Task.sleep(for: .milliseconds(moment))
                        await trial.endServer(victim)
                    }
                let target = stage.standby
                do {
                    _ = try await stage.move()
                } catch {
                    // The command hears of it; the switch itself may have happened all the same.
                    try await stage.follow()
                }
                if stage.active == target { done += 1 } else { broken += 1 }
                try await killer?.value
                if killer != nil { try await trial.startServer(victim) }
                try await stage.waitForGuest(counts: 1)
                try await trial.waitUntilReady(stage.standby)
            }
            return (done, broken)
        }
    }
}
