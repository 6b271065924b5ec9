import ArgumentParser
import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncDevice

struct JoinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Make this machine one of your devices.",
        discussion: """
            The server prints a first invitation when it starts; any device that has joined makes more: vmsync invite.

              vmsync join http://127.0.0.1:7430 k7qm-3xtd-9vap-0c2e
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "Address of the sync server.") var server: String
    @Argument(help: "A one-time invitation.") var invitation: String
    @Option(help: "What to call this device. (default: its host name)") var name: String?

    func run() async throws {
        let identity = try await DeviceIdentity.join(
            server: server, invitation: invitation, name: name ?? ProcessInfo.processInfo.hostName,
            folders: common.folders)
        if common.json { return try Output.json(["device": identity.name, "id": identity.id.rawValue]) }
        Output.line("this device is now \"\(identity.name)\"\n  next: vmsync list")
    }
}

struct InviteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invite", abstract: "Let one more device join.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let invitation = try await common.withDaemon { try await $0.post(ControlPath.invitations, as: Invitation.self) }
        if common.json { return try Output.json(invitation) }
        let server = try DeviceIdentity.load(common.folders).server
        Output.line("on the new device, once, within 24 hours:\n  vmsync join \(server) \(invitation.invitation)")
    }
}

struct DevicesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "devices", abstract: "Show your devices.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let devices = try await common.withDaemon { try await $0.get(ControlPath.devices, as: [DeviceRecord].self) }
        if common.json { return try Output.json(devices) }
        Output.table(
            ["NAME", "ID", "PLATFORM", "LAST SEEN"],
            devices.map { device in
                let age = Double(Timestamp.now.rawValue - device.lastSeen.rawValue) / 1000
                return [
                    device.name, String(device.id.rawValue.prefix(8)), device.platform,
                    device.connected ? "connected" : "\(Output.age(max(0, age))) ago",
                ]
            })
    }
}

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
