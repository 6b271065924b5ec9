import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncDevice
import VMSyncPolicy
import VMSyncSecrets
import VMSyncStudy

extension EndToEnd {
    /// Switches from device to device. (docs/protocol/direct.md)
    @Suite(.timeLimit(.minutes(10)))
    struct DirectTests {
        /// A and B, which reach each other, and a server. A's guest has booted, and B has what the server has.
        private static func withTwo(
            faults: [String: String] = [:], _ body: (Trial, inout Stage) async throws -> Void
        ) async throws {
            let guest = try await World.guest()
            try await Trial.with(program: try World.program(), direct: "127.0.0.1:0") { trial in
                try await trial.startServer()
                for device in ["A", "B"] { try await trial.addDevice(device, fault: faults[device]) }
                try await trial.create(guest)
                try await trial.tell("A", "start", Done())
                var stage = try await Stage(trial, active: "A", standby: "B")
                try await stage.waitForGuest(counts: 12)
                try await trial.waitUntilReady("B")
                for device in ["A", "B"] {
                    _ = try await waitFor("\(device) to know where the other listens") {
                        addresses(at: device, trial).first
                    }
                }
                try await body(trial, &stage)
            }
        }

        /// Where the other device listens, as `device` knows.
        private static func addresses(at device: String, _ trial: Trial) -> [String] {
            let known = try? AtomicFile.read([DeviceID: [String]].self, at: trial.folders(device).addresses)
            return known?.values.flatMap(\.self) ?? []
        }

        /// The switches that the server has heard of.
        private static func switchesOfServer(_ trial: Trial) async throws -> SwitchRecord? {
            try await trial.vm("A")?.lastSwitch
        }

        @Test func aSwitchGoesFromDeviceToDeviceAndTheServerHearsOfIt() async throws {
            try await Self.withTwo { trial, stage in
                for _ in 0..<4 {
                    let record = try await stage.move()
                    #expect(record.state == .done)
                    try await stage.waitForGuest(counts: 4)
                    let (active, standby) = (stage.active, stage.standby)
                    _ = try await waitFor("the server to know where the VM runs") {
                        let (there, here) = (try await trial.vm(standby), try await trial.vm(active))
                        return there?.activeDevice == active && here?.holder == there?.holder
                            && here?.head == here?.sequence ? true : nil
                    }
                }
                #expect(try await Self.switchesOfServer(trial) == nil, "none went over the server")
                #expect(try await stage.standbyAgrees())
                #expect(try await stage.losses() == [])
            }
        }

        /// Where who dies: the source before and after it has given the VM away, the target before and after it has taken it.
        private static let deaths = [
            ("A", "direct-sealed"), ("A", "before-grant"), ("A", "grant-noted"), ("A", "grant-answered"),
            ("B", "before-grant-taken"), ("B", "grant-taken"), ("B", "handed-over"), ("B", "before-handover-told"),
        ]

        @Test(arguments: deaths) func whoeverDiesOnTheWayTheVMRunsInOnePlace(_ device: String, _ point: String)
            async throws
        {
            try await Self.withTwo(faults: [device: point + ":kill"]) { trial, stage in
                do {
                    _ = try await stage.move()
                } catch {
                    print("\(point): \(error)")
                }
                _ = try await waitFor("\(device) to die at \(point)") {
                    await trial.daemonIsRunning(device) ? nil : true
                }
                try await trial.startDaemon(device)
                let (here, there) = (stage.active, stage.standby)
                let active = try await waitFor("the guest to run") { () -> String? in
                    let states = (try await trial.vm(here), try await trial.vm(there))
                    let running = (states.0?.machine?.state == "running", states.1?.machine?.state == "running")
                    guard running != (true, true) else { throw VMSyncError(.bug, "it runs in two places") }
                    guard states.0?.holder == states.1?.holder, states.0?.head == states.1?.head else { return nil }
                    return running.0 ? here : running.1 ? there : nil
                }
                if active != stage.active { try stage.turn() }
                try await stage.waitForGuest(counts: 5)
                #expect(try await stage.standbyAgrees())
                #expect(try await stage.losses() == [])
                for name in ["A", "B"] { #expect(try await trial.vm(name)?.forks == 0, "\(name) at \(point)") }
            }
        }

        @Test func whatWasGivenToADeviceThatIsLostIsTakenBack() async throws {
            try await Self.withTwo(faults: ["B": "before-grant-taken:kill"]) { trial, stage in
                await #expect(throws: VMSyncError.self) { _ = try await stage.move() }
                let held = try await waitFor("A to say so") {
                    try await trial.vm("A").flatMap { $0.problem?.message.contains("handed over") ?? false ? $0 : nil }
                }
                #expect(held.machine?.state != "running")
                let taken = try await trial.vmsync("A", "switch", Stage.vmName, "--force", "--yes")
                #expect(taken.code == 0, "\(taken.errors)")
                // It goes on where it stood, and nothing is a fork.
                try await stage.waitForGuest(counts: 5)
                #expect(try await trial.vm("A")?.forks == 0)
                try await trial.startDaemon("B")
                #expect(try await stage.standbyAgrees())
                #expect(try await stage.losses() == [])
            }
        }

        @Test(.enabled(if: geteuid() == 0, "only root can make a network"))
        func whatTheServerDoesNotHaveYetIsNotLostWithItsDevice() async throws {
            let guest = try await World.guest()
            try await HomeNetwork.with { home in
                try await home.setCable(toMegabits: 100)
                try await home.setLines(up: 100, down: 100)
                try await Trial.with(program: try World.program(), home: home, direct: "0.0.0.0:0") { trial in
                    try await trial.startServer()
                    for (number, device) in ["A", "B"].enumerated() {
                        try await trial.addDevice(device, inHouse: number)
                    }
                    try await trial.create(guest)
                    try await trial.tell("A", "start", Done())
                    var stage = try await Stage(trial, active: "A", standby: "B")
                    try await stage.waitForGuest(counts: 12)
                    try await trial.waitUntilReady("B")
                    // A pack takes a second.
                    try await home.setLines(up: 0.02, down: 100)
                    let ahead = try await waitFor("B to be ahead of the server") {
                        try await trial.vm("B").flatMap { $0.sequence > $0.head ? $0.sequence : nil }
                    }
                    await trial.destroy("A")
                    try await home.setLines(up: 100, down: 100)
                    let taken = try await trial.vmsync("B", "switch", Stage.vmName, "--force", "--yes", "--json")
                    #expect(taken.code == 0, "\(taken.errors)")
                    let seen = try JSONDecoder().decode(Takeover.self, from: Data(taken.output.utf8))
                    #expect(seen.head >= ahead && seen.device == "A")
                    var here = try await Stage(trial, active: "B", standby: "B")
                    try await here.waitForGuest(counts: 5)
                    let entries = try await trial.control("B") {
                        try await $0.get("/vms/\(Stage.vmName)/history", as: [HistoryEntry].self)
                    }
                    #expect(entries.contains { $0.sequence == seen.head })
                    #expect(try await trial.vm("B")?.forks == 0)
                }
            }
        }

        @Test func strangersAreRefused() async throws {
            try await Self.withTwo { trial, stage in
                let address = try #require(Self.addresses(at: "B", trial).first)
                let identity = try #require(try DeviceKeys.load(trial.folders("A"))).identity
                func ask(as keys: DeviceKeys, of server: [UInt8]) async -> VMSyncError.Code? {
                    do {
                        let http = try SyncClient.makeHTTPClient(keys, server: server)
                        let client = SyncClient(servers: ServerRing(["https://\(address)"]), httpClient: http)
                        let answer: Result<DirectStanding, any Error>
                        do {
                            answer = .success(try await client.directStanding(of: stage.vm))
                        } catch { answer = .failure(error) }
                        try await http.shutdown()
                        _ = try answer.get()
                        return nil
                    } catch { return VMSyncError(error).code }
                }
                let stranger = try DeviceKeys(now: Date().timeIntervalSince1970)
                let certificate = Array(identity.certificate)
                #expect(await ask(as: stranger, of: certificate) == .unauthorized)
                let member = try #require(try DeviceKeys.load(trial.folders("B")))
                #expect(await ask(as: member, of: certificate) == nil, "asked by one that it knows")
                // Nor does a device speak with another one than it means.
                #expect(await ask(as: member, of: Array(stranger.identity.certificate)) == .unavailable)
            }
        }

        @Test func withoutTheServerTheVMGoesToAndFroAndTheServerLearnsOfItLater() async throws {
            try await Self.withTwo { trial, stage in
                await trial.endServer()
                for _ in 0..<3 {
                    _ = try await stage.move()
                    try await stage.waitForGuest(counts: 6)
                }
                #expect(stage.active == "B")
                try await trial.startServer()
                let (active, standby) = (stage.active, stage.standby)
                _ = try await waitFor("the server to have it all") {
                    let (there, here) = (try await trial.vm(standby), try await trial.vm(active))
                    return there?.activeDevice == active && here?.notUploadedBytes == 0 && here?.head == there?.head
                        ? true : nil
                }
                // Over the server again, as if nothing had been.
                #expect(try await stage.standbyAgrees())
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }
    }
}
