import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncStudy

extension EndToEnd {
    /// QEMU itself is killed: the VM goes back to its last checkpoint, and not further.
    @Suite(.timeLimit(.minutes(10))) struct MachineCrashTests {
        @Test func aKilledMachineGoesOnFromItsLastCheckpoint() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let nonce = try #require(stage.tape.witness.nonces.first)
                try await killMachine(of: stage)
                try await crashed(stage)
                try await trial.tell("A", "start", Done())
                try await goesOn(&stage, nonce)

                // Again, with the daemon dead in the middle of a checkpoint.
                try await trial.restart("A", fault: "captured@2:kill")
                try await trial.waitForCrash(of: "A")
                try await killMachine(of: stage)
                try await trial.startDaemon("A", interval: 0.5)
                try await crashed(stage)
                try await trial.tell("A", "start", Done())
                try await goesOn(&stage, nonce)

                _ = try await stage.move()
                try await goesOn(&stage, nonce)
                #expect(try await stage.suspendAndVerify())
            }
        }

        @Test func theStandbyTakesAVMWhoseMachineDied() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let nonce = try #require(stage.tape.witness.nonces.first)
                try await killMachine(of: stage)
                try await crashed(stage)
                let refused = try await trial.vmsync("B", "switch", "work", "--json")
                #expect(refused.code == 1)
                #expect(try reason(refused).hint?.contains("vmsync start work") == true)
                try await trial.tell("A", "start", Done())
                try await goesOn(&stage, nonce)
                #expect(try await stage.standbyAgrees())
            }
        }

        private func killMachine(of stage: Stage) async throws {
            let machine = try #require(QEMUProcess.find(stage.trial.paths(stage.active, stage.vm)))
            kill(machine.pid, SIGKILL)
            await machine.waitGone(killAfter: .seconds(10))
        }

        private func crashed(_ stage: Stage) async throws {
            let status = try await waitFor("A to say that its QEMU has crashed") {
                let status = try await stage.trial.state("A")
                return status.state == .crashed ? status : nil
            }
            #expect(status.problem?.message.contains("QEMU ended") == true, "\(String(describing: status.problem))")
            #expect(status.holder == (try await stage.trial.status("A").id))
        }

        /// The guest counts on with its old memory: it went back, but it was not started anew.
        private func goesOn(_ stage: inout Stage, _ nonce: String) async throws {
            let before = stage.tape
            try await stage.waitForBoot()
            #expect(stage.tape.witness.nonces == [nonce])
            #expect(stage.tape.witness.count > 12, "it is further than after a boot")
            #expect(before.witness.nonces.subtracting([nonce]).isEmpty)
        }
    }
}
