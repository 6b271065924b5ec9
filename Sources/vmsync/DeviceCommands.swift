import ArgumentParser
import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncDevice

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check what this device can run, and say what to do about the rest.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let findings = try await common.withDaemon { try await $0.get(ControlPath.doctor, as: [Finding].self) }
        if common.json {
            try Output.json(findings)
        } else {
            for finding in findings {
                Output.line(
                    "\(finding.verdict.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0))"
                        + " \(finding.subject): \(finding.detail)")
                if let hint = finding.hint { Output.line("         next: \(hint)") }
            }
        }
        if findings.contains(where: { $0.verdict == .bad }) { throw ExitCode(1) }
    }
}

struct DaemonCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "daemon", abstract: "The device's daemon; other commands start it by themselves.",
        subcommands: [Run.self, Stop.self])

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the daemon until it is stopped. VMs that run here run on.")

        @OptionGroup var common: CommonOptions
        @Option(help: "Seconds between two checkpoints of a running VM.") var interval = 1.0

        func run() async throws {
            guard interval >= 0.05, interval <= 86_400 else {
                throw ValidationError("--interval takes 0.05 to 86400 seconds")
            }
            let json = common.json
            let folders = common.folders
            let settings = DaemonSettings(
                folders: folders, checkpointInterval: .milliseconds(Int64(interval * 1000)), logger: common.logger)
            try await DaemonService.run(settings) {
                if json { try? Output.json(["control": folders.control]) }
            }
        }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the daemon. VMs that run here run on, unsaved, until it is started again.")

        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await DaemonLauncher.stop(common.folders)
            if common.json { try Output.json(["stopped": true]) }
        }
    }
}
