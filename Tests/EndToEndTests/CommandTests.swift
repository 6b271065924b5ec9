import Foundation
import Subprocess
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// The command line as a program meets it.
    @Suite(.timeLimit(.minutes(10))) struct CommandTests {
        static let commands: [[String]] = [
            ["create"], ["list"], ["status"], ["start"], ["switch"], ["view"], ["suspend"], ["stop"], ["verify"],
            ["join"], ["invite"], ["devices", "list"], ["devices", "approve"], ["devices", "revoke"],
            ["devices", "id"],
            ["key", "export"], ["key", "check"], ["doctor"], ["daemon", "run"], ["daemon", "stop"],
            ["server", "run"], ["server", "invite"], ["demo"],
        ]

        @Test(arguments: commands) func everyCommandExplainsItself(_ command: [String]) async throws {
            let help = try await run(try World.program(), command + ["--help"])
            #expect(help.code == 0)
            #expect(help.output.contains("USAGE: vmsync \(command.joined(separator: " "))"))
            #expect(help.output.contains("--json"))
        }

        @Test(arguments: [
            ["frobnicate"], ["switch"], ["create", "x"], ["list", "--wrong"], ["demo", "--switches", "0"],
        ])
        func wrongUsageIsTwoAndJSONWhereAskedFor(_ words: [String]) async throws {
            let plain = try await run(try World.program(), words)
            #expect(plain.code == 2)
            #expect(plain.output.isEmpty)
            #expect(!plain.errors.isEmpty)
            let asked = try await run(try World.program(), words + ["--json"])
            #expect(asked.code == 2)
            #expect(try reason(asked).code.rawValue == "invalid-input")
        }

        @Test func aDeviceThatHasNotJoinedSaysHowToJoin() async throws {
            try await Trial.with(program: try World.program()) { trial in
                let refused = try await trial.vmsync("nobody", "list", "--json")
                #expect(refused.code == 1)
                #expect(try reason(refused).hint?.contains("vmsync join") == true)
                try await trial.startServer()
                let unknown = try await trial.vmsync("nobody", "join", trial.url, "0000-0000-0000-0000", "--json")
                #expect(unknown.code == 12)
                #expect(try reason(unknown).code.rawValue == "unauthorized")
            }
        }

        @Test func aVMLivesItsLifeByCommands() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for command in ["list", "status", "devices", "doctor", "invite"] {
                    let outcome = try await trial.vmsync("A", command, "--json")
                    #expect(outcome.code == 0, "\(command): \(outcome.output)")
                    _ = try outcome.json()
                    let text = try await trial.vmsync("B", command)
                    #expect(text.code == 0 && !text.output.isEmpty, "\(command)")
                }
                #expect(try await trial.vmsync("A", "view", "work", "--json").output.contains("/vnc"))

                let refusals: [(device: String, words: [String], code: Int32, word: String)] = [
                    ("A", ["switch", "nothing"], 10, "not-found"),
                    ("A", ["switch", "work", "--to", "C"], 10, "not-found"),
                    ("A", ["status", "nothing"], 10, "not-found"), ("A", ["view", "nothing"], 10, "not-found"),
                    ("A", ["switch", "work"], 1, "wrong-state"), ("A", ["verify", "work"], 1, "wrong-state"),
                    ("B", ["start", "work"], 11, "lease-held"), ("B", ["stop", "work"], 1, "wrong-state"),
                    ("B", ["suspend", "work"], 1, "wrong-state"), ("B", ["view", "work"], 1, "wrong-state"),
                ]
                for refusal in refusals {
                    let outcome = try await run(
                        trial.program, refusal.words + ["--json", "--state", trial.folders(refusal.device).state])
                    #expect(outcome.code == refusal.code, "\(refusal)")
                    #expect(try reason(outcome).code.rawValue == refusal.word, "\(refusal)")
                }

                try await done(trial.vmsync("A", "suspend", "work", "--json"))
                for device in ["A", "B"] {
                    _ = try await waitFor("\(device) to see it suspended") {
                        try await trial.state(device).state == .suspended ? true : nil
                    }
                    try await done(trial.vmsync(device, "verify", "work", "--json"))
                }
                // Suspended on A, it goes on on B.
                try await done(trial.vmsync("B", "start", "work", "--json"))
                try stage.turn()
                try await stage.waitForGuest(counts: 12)
                #expect(stage.tape.witness.gaps == 0)
                #expect(stage.tape.witness.nonces.count == 1)
                try await done(trial.vmsync("B", "stop", "work", "--json"))
                try await equalDisks(stage)

                // What it wrote is there when it boots again, on the other device.
                let (old, written) = (stage.tape.witness.nonces, stage.tape.witness.synced)
                try stage.turn()
                try stage.beginTapeAnew()
                try await done(trial.vmsync("A", "start", "work", "--json"))
                try await stage.waitForGuest(counts: 12)
                #expect(stage.tape.witness.nonces.isDisjoint(with: old))
                let disk = try await stage.powerOffAndCheckDisk()
                #expect(disk.isClean)
                #expect(disk.logged.isSuperset(of: written.union(stage.tape.witness.synced)))
                try await done(trial.vmsync("A", "daemon", "stop", "--json"))
            }
        }

        /// Reads the disk out of both devices with a program that isn't ours, and compares.
        private func equalDisks(_ stage: Stage) async throws {
            _ = try await waitFor("both devices to hold the same checkpoint") {
                let (a, b) = (try await stage.trial.state("A"), try await stage.trial.state("B"))
                return a.sequence == b.sequence && a.state == .stopped && b.state == .stopped ? true : nil
            }
            let addresses = ["A", "B"].map { "nbd+unix:///disk0?socket=\(stage.trial.paths($0, stage.vm).disks)" }
            for (device, address) in zip(["A", "B"], addresses) {
                let copy = "\(stage.trial.folder)/disk-\(device).raw"
                #expect(try await run("/usr/bin/qemu-img", ["convert", "-O", "raw", address, copy]).code == 0)
            }
            let compared = try await run("/usr/bin/cmp", ["A", "B"].map { "\(stage.trial.folder)/disk-\($0).raw" })
            #expect(compared.code == 0, "\(compared.output)")
        }
    }
}

/// Expects that a command with `--json` did what it was asked to.
func done(_ outcome: Outcome) throws {
    #expect(outcome.code == 0, "\(outcome.output) \(outcome.errors)")
    _ = try outcome.json()
}

/// The error that a command with `--json` printed.
func reason(_ outcome: Outcome) throws -> Reason {
    struct Answer: Decodable { let error: Reason }
    return try JSONDecoder().decode(Answer.self, from: Data(outcome.output.utf8)).error
}
