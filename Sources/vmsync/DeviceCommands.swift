import ArgumentParser
import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncDevice
import VMSyncPolicy

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check what this device can run, and say what to do about the rest.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let report = try await common.withDaemon { try await $0.get(ControlPath.doctor, as: DoctorReport.self) }
        if common.json {
            try Output.json(report)
        } else {
            show(report.findings)
            show(report.fits)
        }
        if report.findings.contains(where: { $0.verdict == .bad }) { throw ExitCode(1) }
    }

    private func show(_ findings: [Finding]) {
        for finding in findings {
            Output.line(
                "\(finding.verdict.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0))"
                    + " \(finding.subject): \(finding.detail)")
            if let hint = finding.hint { Output.line("         next: \(hint)") }
        }
    }

    /// The matrix: a line for each VM, a column for each device.
    private func show(_ fits: [Fit]) {
        let vms = Array(Set(fits.map(\.vm))).sorted()
        let devices = Array(Set(fits.map(\.device))).sorted()
        guard !vms.isEmpty else { return }
        Output.line("\nWhere each VM can run (live: it moves there running; cold: vmsync switch --cold):")
        Output.table(
            ["VM"] + devices,
            vms.map { vm in
                [vm]
                    + devices.map { device in
                        fits.first { $0.vm == vm && $0.device == device }?.verdict.rawValue ?? "-"
                    }
            })
        for fit in fits {
            if let reason = fit.reason { Output.line("  \(fit.vm) on \(fit.device): \(reason)") }
        }
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
        @Option(help: "How often a running VM gets a checkpoint, such as 500ms or 5s, whatever vmsync policy says.")
        var every: String?
        @Option(
            help:
                "Where your other devices reach this one directly, as HOST:PORT; port 0 for any free one; off for nowhere."
        )
        var direct = "0.0.0.0:0"

        func run() async throws {
            var policy = PolicyLayer()
            try policy.set(.every, every)
            let json = common.json
            let folders = common.folders
            let settings = DaemonSettings(
                folders: folders, policy: policy, direct: direct == "off" ? nil : direct, logger: common.logger)
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
