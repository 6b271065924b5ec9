import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncStudy

extension EndToEnd {
    /// Making a VM: what can't be one leaves nothing behind.
    @Suite(.timeLimit(.minutes(10))) struct CreateTests {
        @Test func whatCanNotBeAVMIsRefusedAndLeavesNothing() async throws {
            try await Trial.with(program: try World.program()) { trial in
                try await trial.startServer()
                try await trial.addDevice("A")
                let image = "\(trial.folder)/image.raw"
                try await makeImage(image, megabytes: 4)
                try Data("no disk".utf8).write(to: URL(fileURLWithPath: "\(trial.folder)/words.txt"))
                try Data(count: 100).write(to: URL(fileURLWithPath: "\(trial.folder)/small.raw"))
                try Data(count: 512 * 9 + 1).write(to: URL(fileURLWithPath: "\(trial.folder)/odd.raw"))
                try Data().write(to: URL(fileURLWithPath: "\(trial.folder)/empty.raw"))
                let refusals: [(words: [String], code: Int32, word: String)] = [
                    (["--disk", "\(trial.folder)/none.raw", "--memory", "128M"], 10, "not-found"),
                    (["--disk", trial.folder, "--memory", "128M"], 2, "invalid-input"),
                    (["--disk", "\(trial.folder)/words.txt", "--memory", "128M"], 2, "invalid-input"),
                    (["--disk", "\(trial.folder)/small.raw", "--memory", "128M"], 2, "invalid-input"),
                    (["--disk", "\(trial.folder)/odd.raw", "--memory", "128M"], 2, "invalid-input"),
                    (["--disk", "\(trial.folder)/empty.raw", "--memory", "128M"], 2, "invalid-input"),
                    (["--disk", image, "--memory", "900G"], 1, "no-space"),
                    (["--disk", image, "--memory", "1000K"], 2, "invalid-input"),
                    (["--disk", image, "--memory", "much"], 2, "invalid-input"),
                    (["--disk", image, "--memory", "128M", "--cores", "0"], 2, "invalid-input"),
                    (["--disk", image, "--memory", "128M", "--arch", "vax"], 2, "invalid-input"),
                    (["--disk", image, "--memory", "128M", "--cpu", "host"], 1, "incompatible"),
                    (["--disk", image, "--memory", "128M", "--cpu", "a,b"], 2, "invalid-input"),
                    (["--disk", image, "--memory", "128M", "--kernel", "/nonexistent"], 10, "not-found"),
                ]
                for refusal in refusals {
                    let outcome = try await create(trial, "work", refusal.words)
                    #expect(outcome.code == refusal.code, "\(refusal)")
                    #expect(try reason(outcome).code == refusal.word, "\(refusal): \(outcome.output)")
                    try await expectNothing(trial)
                }
                #expect(try await create(trial, "bad name", ["--disk", image, "--memory", "128M"]).code == 2)
                #expect(try await create(trial, "work", ["--disk", image, "--memory", "128M"]).code == 0)
                let again = try await create(trial, "work", ["--disk", image, "--memory", "128M"])
                #expect(again.code == 1)
                #expect(try reason(again).code == "already-exists")
            }
        }

        @Test func withoutQEMUTheErrorNamesThePackage() async throws {
            try await Trial.with(program: try World.program()) { trial in
                try await trial.startServer()
                try await trial.addDevice("A", environment: ["PATH": trial.folder])
                let image = "\(trial.folder)/image.raw"
                try await makeImage(image, megabytes: 4)
                let refused = try await create(trial, "work", ["--disk", image, "--memory", "128M"])
                #expect(refused.code == 1)
                #expect(try reason(refused).hint?.contains("apt-get install") == true)
                try await expectNothing(trial)
                let doctor = try await trial.vmsync("A", "doctor", "--json")
                #expect(doctor.code == 1)
                #expect(doctor.output.contains("qemu-system-x86"))
            }
        }

        @Test func anInterruptedCreateLeavesNothingAndCanBeRepeated() async throws {
            try await Trial.with(program: try World.program()) { trial in
                try await trial.startServer()
                try await trial.addDevice("A")
                let image = "\(trial.folder)/large.raw"
                try await makeImage(image, megabytes: 200)
                let log = "\(trial.folder)/create.log"
                let command = try ChildProcess(
                    trial.program,
                    ["create", "work", "--disk", image, "--memory", "128M", "--state", trial.folders("A").state],
                    log: log)
                _ = try await waitFor("the upload to begin") { command.output.contains("uploading") ? true : nil }
                await command.end(SIGINT)
                #expect(!command.output.contains("created"))
                _ = try await waitFor("the daemon to clean up") {
                    try imports(trial).isEmpty ? true : nil
                }
                try await expectNothing(trial)
                let again = try await create(trial, "work", ["--disk", image, "--memory", "128M"])
                #expect(again.code == 0, "\(again.output) \(again.errors)")
                #expect(try await trial.status("A").vms.map(\.name) == ["work"])
                #expect(try imports(trial).isEmpty)
            }
        }

        private func create(_ trial: Trial, _ name: String, _ words: [String]) async throws -> Outcome {
            try await run(trial.program, ["create", name, "--json", "--state", trial.folders("A").state] + words)
        }

        /// Bytes that don't compress and aren't zero.
        private func makeImage(_ path: String, megabytes: Int) async throws {
            let made = try await run(
                "/usr/bin/dd", ["if=/dev/urandom", "of=\(path)", "bs=1M", "count=\(megabytes)", "status=none"])
            try #require(made.code == 0)
        }

        private func imports(_ trial: Trial) throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: trial.folders("A").images).filter {
                $0.hasPrefix("import-")
            }
        }

        private func expectNothing(_ trial: Trial) async throws {
            #expect(try imports(trial).isEmpty)
            #expect(try await trial.status("A").vms.isEmpty)
        }
    }
}
