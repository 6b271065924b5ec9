import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets
import VMSyncStudy

extension EndToEnd {
    /// Devices that come, are lost, and are cut off.
    @Suite(.timeLimit(.minutes(10))) struct AccountTests {
        @Test func allDevicesAreDestroyedAndTheVMGoesOnByTheRecoveryKey() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try stage.readTape()
                let nonces = stage.tape.witness.nonces
                let saved = try #require(try await trial.vm("B")).head
                for device in ["A", "B"] { await trial.destroy(device) }
                let used = trial.recoveryKey.withLock { $0 }
                try await trial.recover("C", interval: 0.5)
                #expect(
                    trial.recoveryKey.withLock { $0 } != used, "another key takes the place of the one that was used")
                for lost in ["A", "B"] { try await self.revoke(lost, on: "C", trial) }
                try await trial.waitForVM("C")
                try await trial.tell("C", "start", StartRequest(force: false))
                var after = try await Stage(trial, active: "C", standby: "C")
                try await after.waitForGuest(counts: 5)
                // It did not boot: what only its memory knew is still there.
                #expect(after.tape.witness.nonces == nonces)
                #expect(try #require(try await trial.vm("C")).sequence >= saved)
                // The new key opens all there is, and the old one nothing.
                let check = try await trial.control("C") {
                    try await $0.post(
                        ControlPath.keyCheck, RecoveryKeyText(key: trial.recoveryKey.withLock { $0 }), as: KeyCheck.self
                    )
                }
                #expect(check.keys >= 2)
                let old = await failure {
                    try await trial.control("C") {
                        _ = try await $0.post(ControlPath.keyCheck, RecoveryKeyText(key: used), as: KeyCheck.self)
                    }
                }
                #expect(old?.code == .unauthorized)
            }
        }

        @Test func aRevokedDeviceIsCutOffAndTheVMGoesOnWithoutForce() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                // The thief has the active device, and its daemon goes on.
                try await self.revoke("A", on: "B", trial)
                let cut = try await waitFor("A to be cut off") { () -> VMStatus? in
                    let vm = try await trial.vm("A")
                    return vm?.serverAnswers == false ? vm : nil
                }
                try await trial.tell("B", "start", StartRequest(force: false))
                try stage.turn()
                try await stage.waitForGuest(counts: 3)
                let head = try #require(try await trial.vm("B")).head
                _ = try await waitFor("B to save more") { try await trial.vm("B")?.head ?? .base > head ? true : nil }
                #expect(try #require(try await trial.vm("A")).head <= head, "A hears of nothing any more")
                #expect(cut.machine?.state == "running", "what runs at a thief's can't be stopped")
                let devices = try await trial.control("B") {
                    try await $0.get(ControlPath.devices, as: [DeviceStatus].self)
                }
                #expect(devices.map(\.name) == ["B"])
                // Nor does it come back.
                try await trial.restart("A")
                let refused = await failure { try await trial.tell("A", "suspend", Done()) }
                #expect(refused != nil)
            }
        }

        @Test func aDeviceThatIsLostLosesItsVMByForceAndNotWithout() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                await trial.destroy("A")
                let plain = await failure { try await trial.tell("B", "start", StartRequest(force: false)) }
                #expect(plain?.code == .leaseHeld && plain?.hint?.contains("--force") == true)
                try await trial.tell("B", "start", StartRequest(force: true))
                stage = try await Stage(trial, active: "B", standby: "B")
                try await stage.waitForGuest(counts: 3)
                let head = try #require(try await trial.vm("B")).head
                _ = try await waitFor("B to save more") { try await trial.vm("B")?.head ?? .base > head ? true : nil }
                // A device that comes later believes the history that B has made.
                try await trial.addDevice("C", interval: 0.5)
                try await trial.waitUntilReady("C")
            }
        }

        @Test func aDeviceIsLetInByTheIDThatItShows() async throws {
            try await World.withDevices { trial in
                let state = trial.folders("C").state
                let program = try World.program()
                let address = await trial.url
                let joining = Task { try await run(program, ["join", address, "--name", "A", "--state", state]) }
                let id = try await waitFor("C to have keys") { try? Self.shownID(state) }
                let wrong = await failure {
                    try await trial.control("A") {
                        let order = DeviceOrder(device: String(id.dropLast()) + "x")
                        _ = try await $0.post(ControlPath.approve, order, as: Done.self)
                    }
                }
                #expect(wrong?.code == .invalidInput)
                _ = try await waitFor("C to be let in") { () -> Bool? in
                    let refused = await failure {
                        try await trial.control("A") {
                            _ = try await $0.post(ControlPath.approve, DeviceOrder(device: id), as: Done.self)
                        }
                    }
                    return refused == nil ? true : nil
                }
                let outcome = try await joining.value
                #expect(outcome.code == 0 && outcome.output.contains(id))
                // The name was taken, so it got another.
                #expect(outcome.output.contains("\"A-2\""))
                let devices = try await trial.control("A") {
                    try await $0.get(ControlPath.devices, as: [DeviceStatus].self)
                }
                #expect(devices.map(\.name) == ["A", "B", "A-2"])
            }
        }

        private static func shownID(_ state: String) throws -> String {
            let keys = try DeviceKeys(json: Data(contentsOf: URL(fileURLWithPath: state + "/device.key")))
            return keys.id.grouped
        }

        private func revoke(_ device: String, on other: String, _ trial: Trial) async throws {
            try await trial.control(other) {
                _ = try await $0.post(ControlPath.revoke, DeviceOrder(device: device), as: Done.self)
            }
        }
    }
}

extension Trial {
    /// Waits until `device` holds the newest checkpoint of a VM that runs nowhere.
    nonisolated func waitForVM(_ device: String) async throws {
        _ = try await waitFor("\(device) to hold the VM") { () -> VMStatus? in
            guard let vm = try await self.vm(device), vm.state == .suspended else { return nil }
            return vm
        }
    }
}
