import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// What a person sets, and what the devices make of it.
    @Suite(.timeLimit(.minutes(10))) struct PolicyTests {
        private static func set(
            _ values: [PolicyKey: String], on device: String, vm: String? = nil, _ trial: Trial
        ) async throws -> PolicyReport {
            let order = PolicyOrder(
                values: Dictionary(uniqueKeysWithValues: values.map { ($0.key.rawValue, $0.value) }), places: [:])
            return try await trial.control(device) {
                try await $0.post(vm.map { "/vms/\($0)/policy" } ?? ControlPath.policy, order, as: PolicyReport.self)
            }
        }

        private static func standing(_ device: String, _ trial: Trial) async throws -> SyncStanding? {
            try await trial.vm(device)?.sync
        }

        private static func capOf(_ bytes: UInt64) -> [PolicyKey: String] { [.capPerDay: "\(bytes)B"] }

        @Test func aDataCapIsKeptWhileTheVMRunsOnAndASwitchSaysWhyItCannotBe() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let used = try #require(try await Self.standing("A", trial)).usedToday
                let cap = used + 60_000
                _ = try await Self.set(Self.capOf(cap), on: "A", trial)
                _ = try await waitFor("A to have used up its cap") {
                    try await Self.standing("A", trial)?.state == .paused ? true : nil
                }
                let paused = try await trial.state("A")
                #expect(paused.sync?.reason.contains("data cap") == true)
                // It works on, and what it does is kept.
                try await stage.waitForGuest(counts: 15)
                _ = try await waitFor("checkpoints to be kept") {
                    try await trial.vm("A")?.notUploadedBytes ?? 0 > 0 ? true : nil
                }
                let late = try await trial.state("A")
                #expect(late.head == paused.head || late.head == paused.head.next)
                let largest = try await stage.metrics().map(\.packBytes).max() ?? 0
                #expect(try #require(late.sync).usedToday <= cap + UInt64(largest))

                let refused = await failure { _ = try await stage.move() }
                #expect(refused?.code == .wrongState && refused?.message.contains("data cap") == true)
                #expect(refused?.hint?.contains("vmsync policy set") == true && refused?.device == "A")
                let suspended = await failure { try await trial.tell("A", "suspend", Done()) }
                #expect(suspended?.code == .wrongState)
                try await stage.waitForGuest(counts: 3)

                _ = try await Self.set([.capPerDay: "off"], on: "A", trial)
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 5)
                #expect(try await stage.losses() == [])
            }
        }

        @Test func aStandbyKeepsItsOwnCap() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let used = try #require(try await Self.standing("B", trial)).usedToday
                _ = try await Self.set(Self.capOf(used + 30_000), on: "B", trial)
                _ = try await waitFor("B to have used up its cap") {
                    try await Self.standing("B", trial)?.state == .paused ? true : nil
                }
                let stopped = try await trial.state("B").sequence
                _ = try await waitFor("A to go on") {
                    try await trial.vm("A")?.head.rawValue ?? 0 > stopped.rawValue + 10 ? true : nil
                }
                #expect(try await trial.state("B").sequence == stopped)
                let refused = await failure { _ = try await stage.move() }
                #expect(refused?.message.contains("data cap") == true && refused?.device == "B")
                try await stage.waitForGuest(counts: 3)

                _ = try await Self.set([.capPerDay: "default"], on: "B", trial)
                try await trial.waitUntilReady("B", atLeast: Sequence(rawValue: stopped.rawValue + 10))
                #expect(try await stage.standbyAgrees())
                _ = try await stage.move()
                #expect(try await stage.losses() == [])
            }
        }

        /// The files by which the kernel tells what a host lives on.
        private static func writePower(_ folder: String, onMains: Bool, level: Int) throws {
            let files = [
                "AC/type": "Mains", "AC/online": onMains ? "1" : "0", "BAT0/type": "Battery", "BAT0/present": "1",
                "BAT0/status": onMains ? "Charging" : "Discharging", "BAT0/capacity": "\(level)",
            ]
            for (name, text) in files {
                let path = "\(folder)/sys/class/power_supply/\(name)"
                try FileManager.default.createDirectory(
                    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                try Data("\(text)\n".utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
            }
        }

        @Test func aDeviceOnBatteryDoesWhatIsSetForItAndGoesOnAtTheCharger() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let host = trial.folder + "/host"
                try Self.writePower(host, onMains: true, level: 80)
                await trial.endDaemon("A", SIGTERM)
                try await trial.startDaemon("A", interval: 0.5, environment: ["VMSYNC_HOST_ROOT": host])
                _ = try await Self.set([.onBattery: "pause", .onLowBattery: "sync"], on: "A", trial)
                try await stage.waitForGuest(counts: 3)
                _ = try await waitFor("A to sync at the charger") {
                    try await Self.standing("A", trial)?.state == .syncing ? true : nil
                }
                try Self.writePower(host, onMains: false, level: 70)
                let paused = try await waitFor("A to pause") { () -> VMStatus? in
                    let state = try await trial.vm("A")
                    return state?.sync?.state == .paused ? state : nil
                }
                #expect(paused.sync?.reason == "on battery")
                try await stage.waitForGuest(counts: 10)
                #expect(try await trial.state("A").head.rawValue - paused.head.rawValue <= 1)
                // Who wants it elsewhere gets it all the same, with all that waited.
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                try await trial.waitUntilReady("A")
                _ = try await stage.move()
                try Self.writePower(host, onMains: true, level: 70)
                _ = try await waitFor("A to go on") {
                    try await Self.standing("A", trial)?.state == .syncing ? true : nil
                }
                #expect(try await stage.losses() == [])
            }
        }

        @Test func withAPromiseCheckpointsAreMadeWhenItNeedsThemAndASwitchStillMovesEverything() async throws {
            let guest = try await World.guest()
            try await Trial.with(program: try World.program()) { trial in
                try await trial.startServer()
                for name in ["A", "B"] { try await trial.addDevice(name, interval: nil) }
                try await trial.create(guest)
                _ = try await Self.set([.switchWithin: "10s"], on: "B", vm: "work", trial)
                try await trial.tell("A", "start", Done())
                var stage = try await Stage(trial, active: "A", standby: "B")
                try await stage.waitForGuest(counts: 12)
                try await trial.waitUntilReady("B")
                let before = try await trial.state("A")
                #expect(before.sync?.promiseSeconds == 10 && before.sync?.keepsPromise == true)
                // A counter and a few lines of a log: nothing that would take ten seconds, so nothing is sent.
                try await stage.waitForGuest(counts: 40)
                let after = try await trial.state("A")
                #expect(after.head.rawValue - before.head.rawValue <= 1)
                #expect(after.sync?.behindBytes ?? 0 > 0)
                for _ in 1...2 {
                    _ = try await stage.move()
                    try await stage.waitForGuest(counts: 5)
                    try await trial.waitUntilReady(stage.standby)
                }
                #expect(try await stage.losses() == [])
            }
        }

        @Test func whatIsSetForAVMHoldsOnAllDevicesAndADeviceOutweighsIt() async throws {
            try await World.withDevices { trial in
                try await trial.create(try await World.guest())
                let set = try await trial.vmsync(
                    "A", "policy", "set", "work", "--on-metered", "pause", "--cap-month", "5GB", "--at", "home=sync")
                #expect(set.code == 0 && set.output.contains("on-metered"))
                let seen = try await waitFor("B to know it") { () -> PolicyReport? in
                    let report = try await trial.control("B") {
                        try await $0.get("/vms/work/policy", as: PolicyReport.self)
                    }
                    return report.places.isEmpty ? nil : report
                }
                func source(_ key: PolicyKey, _ report: PolicyReport) -> String? {
                    report.effective.first { $0.name == key.rawValue }.map { "\($0.value) (\($0.source.rawValue))" }
                }
                #expect(source(.onMetered, seen) == "pause (VM)")
                #expect(source(.capPerMonth, seen) == "5.0 GB (VM)")
                #expect(source(.every, seen) == "500ms (command line)")
                #expect(source(.events, seen) == "on (built in)")
                #expect(seen.places.map { "\($0.name) \($0.value) \($0.source.rawValue)" } == ["home sync VM"])

                let here = try await trial.vmsync("B", "policy", "set", "--on-metered", "sync", "--json")
                #expect(here.code == 0)
                let shown = try await trial.vmsync("B", "policy", "show", "work", "--effective")
                let lines = shown.output.split(separator: "\n").map { $0.split(separator: " ") }
                #expect(lines.contains(["on-metered", "sync", "device"]), "\(shown.output)")
                // The daemon reads it again.
                await trial.endDaemon("B", SIGTERM)
                try await trial.startDaemon("B", interval: nil)
                let again = try await trial.control("B") {
                    try await $0.get("/vms/work/policy", as: PolicyReport.self)
                }
                #expect(source(.onMetered, again) == "sync (device)" && source(.every, again) == "1s (built in)")

                let wrong = try await trial.vmsync("B", "policy", "set", "work", "--every", "soon")
                #expect(wrong.code == 2 && wrong.errors.contains("every"))
                let nothing = try await trial.vmsync("B", "policy", "set", "work")
                #expect(nothing.code == 2)
            }
        }
    }
}
