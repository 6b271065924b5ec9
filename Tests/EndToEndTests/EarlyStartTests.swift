import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// A VM that runs where its base image isn't all there yet. (docs/protocol/catch-up.md)
    @Suite(.timeLimit(.minutes(15)), .enabled(if: geteuid() == 0, "only root can make a network"))
    struct EarlyStartTests {
        /// What stands on the guest's disk behind its file system: nothing reads it, and nothing makes it shorter.
        private static let ballast = 192 << 20
        /// Megabits a second: the ballast takes more than a minute.
        private static let slow = 20

        /// The small guest, on a disk that is much larger than what it reads of it.
        private static func create(in trial: Trial) async throws {
            let guest = try await World.guest()
            var order = guest.order(Stage.vmName)
            let disk = "\(trial.folder)/heavy.raw"
            try FileManager.default.copyItem(atPath: order.disk, toPath: disk)
            let file = try #require(FileHandle(forWritingAtPath: disk))
            try file.seekToEnd()
            let random = try #require(FileHandle(forReadingAtPath: "/dev/urandom"))
            for _ in 0..<ballast >> 20 { try file.write(contentsOf: try #require(try random.read(upToCount: 1 << 20))) }
            try file.close()
            order.disk = disk
            _ = try await trial.control("A") { [order] in
                try await $0.run(ControlPath.vms, order, as: String.self)
            }
        }

        /// It runs on A, which is on the far side of the link with the server, and may start early.
        private static func withHeavyGuest(
            _ settings: String..., body: (Trial, ShapedLink) async throws -> Void
        ) async throws {
            try await ShapedLink.with { link in
                try await Trial.with(program: try World.program(), link: link) { trial in
                    try await trial.startServer()
                    try await trial.addDevice("A", isFar: true, interval: 0.5)
                    try await create(in: trial)
                    let set = try await trial.vmsync(
                        "A", ["policy", "set", Stage.vmName, "--start-early", "on"] + settings)
                    #expect(set.code == 0, "\(set.errors)")
                    try await trial.tell("A", "start", Done())
                    try await body(trial, link)
                }
            }
        }

        private static func missing(_ trial: Trial, _ device: String) async throws -> UInt64 {
            try await trial.vm(device)?.base?.missing ?? 0
        }

        private static func images(_ trial: Trial, _ device: String) throws -> [String: UInt64] {
            let folder = trial.folders(device).images
            var sizes: [String: UInt64] = [:]
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) where !name.hasSuffix(".index") {
                sizes[name] = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")[.size] as? UInt64
            }
            return sizes
        }

        @Test func aNewDeviceRunsTheVMWhileItsBaseImageComes() async throws {
            try await Self.withHeavyGuest { trial, link in
                #expect(try await trial.vm("A")?.base == nil, "all of it is here")

                try await link.slowDown(toMegabits: Self.slow)
                try await trial.addDevice("B", interval: 0.5)
                var stage = try await Stage(trial, active: "A", standby: "B")
                try await stage.waitForGuest(counts: 12)
                try await trial.waitUntilReady("B")
                let total = try #require(try await trial.vm("B")?.base).size
                #expect(total >= UInt64(Self.ballast))
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                let atSwitch = try await Self.missing(trial, "B")
                #expect(atSwitch > UInt64(Self.ballast) / 2)
                let said = try await trial.vmsync("B", "status", Stage.vmName)
                #expect(said.output.contains("still to come"), "\(said.output)")

                // It boots there too.
                try await trial.tell("B", "stop", StopRequest(force: false))
                try stage.beginTapeAnew()
                try await trial.tell("B", "start", Done())
                try await stage.waitForGuest(counts: 5)
                #expect(try await Self.missing(trial, "B") > UInt64(Self.ballast) / 4)

                // A new daemon takes over both the guest and the image.
                await trial.endDaemon("B", SIGKILL)
                let before = try Self.images(trial, "B")
                #expect(
                    before.keys.contains { $0.hasSuffix(".part") } && before.keys.contains { $0.hasSuffix(".list") }
                )
                try await trial.startDaemon("B", interval: 0.5)
                try await stage.waitForGuest(counts: 3)
                let left = try await Self.missing(trial, "B")
                #expect(left > 0 && left < atSwitch)

                try await link.slowDown(toMegabits: 1000)
                _ = try await waitFor("the base image to be whole") {
                    try await trial.vm("B").flatMap { $0.base == nil ? true : nil }
                }
                _ = try await waitFor("the base image to have its name") {
                    try Self.images(trial, "B").keys.contains { $0.hasSuffix(".part") } ? nil : true
                }
                #expect(try Self.images(trial, "A") == Self.images(trial, "B"))
                for name in try Self.images(trial, "A").keys {
                    let (here, there) = (trial.folders("A").images, trial.folders("B").images)
                    #expect(
                        FileManager.default.contentsEqual(atPath: "\(here)/\(name)", andPath: "\(there)/\(name)"))
                }
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }

        /// Where the policy holds the rest back, a guest boots from what it asks for; and what is read without the server waits for
        /// it, and doesn't fail.
        @Test func whatIsReadAndIsNotHereWaitsForTheServer() async throws {
            try await Self.withHeavyGuest("--on-battery", "pause") { trial, link in
                var stage = try await Stage(trial, active: "A", standby: "B")
                try await stage.waitForGuest(counts: 12)
                try await trial.tell("A", "stop", StopRequest(force: false))
                try stage.readTape()
                try await link.slowDown(toMegabits: Self.slow)
                let battery = try Self.hostOnBattery(in: trial.folder)
                try await trial.addDevice("B", interval: 0.5, environment: ["VMSYNC_HOST_ROOT": battery])
                try stage.turn()
                try stage.beginTapeAnew()
                try await trial.tell("B", "start", Done())
                try await stage.waitForGuest(counts: 5)
                // Nothing of what nobody asked for.
                #expect(try await Self.missing(trial, "B") > UInt64(Self.ballast) * 9 / 10)

                // Somebody reads all of the disk, and the server goes.
                let copy = "\(trial.folder)/copy.raw"
                let socket = trial.paths("B", stage.vm).disks
                let reading = Task {
                    try await run("/usr/bin/env", ["nbdcopy", "nbd+unix:///disk0?socket=\(socket)", copy])
                }
                _ = try await waitFor("the reader to wait") {
                    try await trial.vm("B").flatMap { $0.base?.isAwaited == true ? true : nil }
                }
                try await link.plug(false)
                _ = try await waitFor("the server to be missed") {
                    try await trial.vm("B").flatMap { $0.base?.isAwaited == true && !$0.serverAnswers ? true : nil }
                }
                let said = try await trial.vmsync("B", "status", Stage.vmName)
                #expect(said.output.contains("the VM waits for some of it"), "\(said.output)")
                try await link.plug(true)
                try await link.slowDown(toMegabits: 1000)
                let read = try await reading.value
                #expect(read.code == 0, "\(read.errors)")
                // Behind the file system, which the guest has changed.
                let tails = try [copy, "\(trial.folder)/heavy.raw"].map { path in
                    let file = try #require(FileHandle(forReadingAtPath: path))
                    try file.seek(toOffset: try file.seekToEnd() - UInt64(Self.ballast))
                    return try #require(try file.readToEnd())
                }
                let isSame = tails[0] == tails[1] && tails[0].count == Self.ballast
                #expect(isSame)
                try await stage.waitForGuest(counts: 5)
                let losses = try await stage.powerOffAndCheckDisk()
                #expect(losses.isClean && stage.tape.witness.synced.subtracting(losses.logged) == [])
            }
        }

        /// What the kernel says of a device that runs on its battery.
        private static func hostOnBattery(in folder: String) throws -> String {
            let root = "\(folder)/battery"
            let battery = "\(root)/sys/class/power_supply/BAT0"
            try FileManager.default.createDirectory(atPath: battery, withIntermediateDirectories: true)
            for (name, text) in [("type", "Battery"), ("status", "Discharging"), ("capacity", "80")] {
                try Data("\(text)\n".utf8).write(to: URL(fileURLWithPath: "\(battery)/\(name)"))
            }
            return root
        }
    }
}
