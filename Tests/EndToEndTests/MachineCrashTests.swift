import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// QEMU itself is killed: the VM goes back to its last checkpoint, and not further.
    @Suite(.timeLimit(.minutes(10))) struct MachineCrashTests {
        @Test func aKilledMachineGoesOnFromItsLastCheckpoint() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                var saved = try await waitUntilSaved(&stage)
                try await killMachine(of: stage)
                try await crashed(&stage)
                try await trial.tell("A", "start", Done())
                try await goesOn(&stage, from: saved)

                // Again, with the daemon dead in the middle of a checkpoint.
                saved = try await waitUntilSaved(&stage)
                try await trial.restart("A", fault: "captured@2:kill")
                try await trial.waitForCrash(of: "A")
                try await killMachine(of: stage)
                try await trial.startDaemon("A", interval: 0.5)
                try await crashed(&stage)
                try await trial.tell("A", "start", Done())
                try await goesOn(&stage, from: saved)

                try await trial.waitUntilReady("B")
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.suspendAndVerify())
            }
        }

        @Test func aMachineKilledWhileTheServerIsAwayGoesOnFromWhatTheDeviceKept() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                await trial.endServer()
                let atBreak = try await trial.state("A").head
                _ = try await waitFor("a checkpoint to wait") {
                    try await trial.state("A").notUploadedBytes > 0 ? true : nil
                }
                try await stage.waitForGuest(counts: 1)
                let (saved, kept) = (stage.tape.witness, try await trial.state("A").sequence)
                _ = try await waitFor("two more checkpoints") {
                    try await trial.state("A").sequence >= kept.next.next ? true : nil
                }
                try await killMachine(of: stage)
                _ = try await waitFor("A to know that its QEMU has crashed") {
                    try await trial.state("A").state == .crashed ? true : nil
                }
                try stage.beginTapeAnew()
                try await trial.startServer()
                try await trial.tell("A", "start", Done())
                try await goesOn(&stage, from: saved)
                #expect(try await trial.state("A").head > atBreak.next)
                #expect(try await stage.standbyAgrees())
            }
        }

        @Test func aSwitchOfACrashedVMSaysWhatToDo() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let saved = try await waitUntilSaved(&stage)
                try await killMachine(of: stage)
                try await crashed(&stage)
                let refused = try await trial.vmsync("B", "switch", "work", "--json")
                #expect(refused.code == 1)
                #expect(try reason(refused).hint?.contains("vmsync start work") == true)
                try await trial.tell("A", "start", Done())
                try await goesOn(&stage, from: saved)
                #expect(try await stage.standbyAgrees())
            }
        }

        /// What the guest has said that the server certainly has.
        private func waitUntilSaved(_ stage: inout Stage) async throws -> Witness {
            try await stage.waitForGuest(counts: 1)
            let (trial, head) = (stage.trial, try await stage.trial.state("A").head)
            // The next one may have been captured before the guest's last words were read; the one after it was not.
            _ = try await waitFor("two checkpoints to be saved") {
                try await trial.state("A").head >= head.next.next ? true : nil
            }
            return stage.tape.witness
        }

        private func killMachine(of stage: Stage) async throws {
            let machine = try #require(QEMUProcess.find(stage.trial.paths(stage.active, stage.vm)))
            kill(machine.pid, SIGKILL)
            await machine.waitGone(killAfter: .seconds(10))
        }

        private func crashed(_ stage: inout Stage) async throws {
            let trial = stage.trial
            let status = try await waitFor("A to say that its QEMU has crashed") {
                let status = try await trial.state("A")
                return status.state == .crashed ? status : nil
            }
            #expect(status.problem?.message.contains("QEMU ended") == true, "\(String(describing: status.problem))")
            #expect(status.holder == (try await trial.status("A").id))
            try stage.beginTapeAnew()
        }

        /// The guest counts on with its old memory, from a checkpoint that isn't older than `saved`.
        private func goesOn(_ stage: inout Stage, from saved: Witness) async throws {
            try await stage.waitForGuest(counts: 3)
            #expect(stage.tape.witness.nonces == saved.nonces)
            #expect(try #require(stage.tape.witness.first) > saved.count)
            #expect(stage.tape.witness.gaps == (try #require(stage.tape.witness.first)) - 1, "no gap but the first")
        }
    }
}
