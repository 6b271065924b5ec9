#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import ArgumentParser
import Foundation
import Synchronization
import VMSyncAPI
import VMSyncCore
import VMSyncDevice
import VMSyncSecrets

struct JoinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Make this machine one of your devices.",
        discussion: """
            The server prints its address and a first invitation when it starts. With that your first device joins, and is shown \
            your recovery key. Every other device joins with a code that a joined one makes (vmsync invite), or without a code: \
            then it shows its id and waits, until you have typed that on a joined one (vmsync devices approve ID). With \
            --recovery it asks for your recovery key, for when no device is left.

            With --mirror it never runs a VM: it keeps a copy of all, best beside the server, and merges what the others have \
            missed, so that a device that was away is soon up to date.

              vmsync join 'https://192.168.1.5:7430/#6m2k…' k7qm-3xtd-9vap-0c2e
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "Address of the sync server, as it has printed it.") var server: String
    @Argument(help: "A one-time invitation.") var invitation: String?
    @Option(help: "What to call this device. (default: its host name)") var name: String?
    @Flag(help: "Only keep copies here, and never run a VM.") var mirror = false
    @Flag(help: "Join with the recovery key, which is read from the terminal or from stdin.") var recovery = false

    func run() async throws {
        let host = ProcessInfo.processInfo.hostName.split(separator: ".").first.map(String.init) ?? "device"
        var joining = try Joining(server: server, name: name ?? host, folders: common.folders)
        joining.isMirror = mirror
        let shown = ShownKey()
        let identity = try await joining.run(try way()) { notice in
            switch notice {
            case .waiting(let id): if invitation == nil { AccountText.showWaiting(id) }
            case .recoveryKey(let key): shown.show(key.text, json: common.json)
            }
        }
        if common.json {
            return try Output.json(
                JoinOutput(device: identity.name, id: identity.id.grouped, recoveryKey: shown.text))
        }
        Output.line("this device is now \"\(identity.name)\"\n  next: vmsync list")
    }

    private func way() throws -> Joining.Way {
        if recovery {
            guard invitation == nil else { throw ValidationError("either an invitation or --recovery") }
            return .recovery(try AccountText.readRecoveryKey())
        }
        guard let invitation else { return .approved }
        let code = try InvitationCode(typed: invitation)
        return code.kind == .member ? .invited(code) : .founding(code)
    }

    private struct JoinOutput: Encodable {
        let device: String
        let id: String
        let recoveryKey: String?

        enum CodingKeys: String, CodingKey {
            case device, id
            case recoveryKey = "recovery_key"
        }
    }
}

struct InviteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invite", abstract: "Let one more device join.",
        discussion: "This device lets it in, so its daemon must run when the other joins.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let invitation = try await common.withDaemon { try await $0.post(ControlPath.invitations, as: Invitation.self) }
        if common.json { return try Output.json(invitation) }
        let identity = try DeviceIdentity.load(common.folders)
        Output.line(
            "on the new device, once, within 24 hours:\n  vmsync join '\(identity.address)' \(invitation.invitation)")
    }
}

struct DevicesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices", abstract: "Show your devices, let one in, or cut off one that is lost.",
        subcommands: [List.self, Approve.self, Revoke.self, ID.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show your devices.")

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let devices = try await common.withDaemon {
                try await $0.get(ControlPath.devices, as: [DeviceStatus].self)
            }
            if common.json { return try Output.json(devices) }
            Output.table(
                ["NAME", "ID", "PLATFORM", "LAST SEEN"],
                devices.map { device in
                    let age = Double(Timestamp.now.rawValue - device.lastSeen.rawValue) / 1000
                    return [
                        device.name + (device.isThisOne ? " *" : ""), String(device.id.grouped.prefix(15)),
                        device.platform + (device.isMirror ? ", mirror" : ""),
                        device.connected
                            ? "connected" + (device.nearby.isEmpty ? "" : ", in this network")
                            : "\(Output.age(max(0, age))) ago",
                    ]
                })
        }
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let in a device that waits, by the id that it shows.",
            discussion: "Compare all of it: who is let in can read and run all your VMs.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "The id that the waiting device shows: 8 groups of 7 letters.") var id: String

        func run() async throws {
            let order = DeviceOrder(device: id)
            _ = try await common.withDaemon { try await $0.post(ControlPath.approve, order, as: Done.self) }
            if common.json { return try Output.json(["approved": id]) }
            Output.line("it is one of your devices now\n  next: vmsync devices")
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cut off a device that is lost, at once and for good.",
            discussion: """
                It can't reach the server any more, and what is saved from now on is encrypted with keys that it doesn't \
                have. What it had already, it keeps: change the passwords that were typed in your VMs.
                """)

        @OptionGroup var common: CommonOptions
        @Argument(help: "Name or id of the device.") var device: String

        func run() async throws {
            let order = DeviceOrder(device: device)
            _ = try await common.withDaemon { try await $0.post(ControlPath.revoke, order, as: Done.self) }
            if common.json { return try Output.json(["revoked": device]) }
            Output.line("\(device) is cut off; a VM that ran there goes on from what it had saved: vmsync start NAME")
        }
    }

    struct ID: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "id", abstract: "Show the id of this device.")

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let id = try DeviceIdentity.load(common.folders).id
            if common.json { return try Output.json(["id": id.grouped]) }
            AccountText.show(id)
        }
    }
}

struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Your recovery key: make another, or try the one that you have written down.",
        discussion: """
            With the recovery key you get at your VMs when no device of yours is left. It is shown when it is made and kept \
            nowhere. \(AccountText.warning)
            """,
        subcommands: [Export.self, Check.self])

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make another recovery key and show it; the one before counts no more.")

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let answer = try await common.withDaemon {
                try await $0.post(ControlPath.keyExport, as: RecoveryKeyText.self)
            }
            if common.json { return try Output.json(["recovery_key": answer.key]) }
            AccountText.show(recoveryKey: answer.key)
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say whether the recovery key that you have written down opens everything.",
            discussion: "The key is read from the terminal or from stdin.")

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let order = RecoveryKeyText(key: try AccountText.readRecoveryKey().text)
            let answer = try await common.withDaemon {
                try await $0.post(ControlPath.keyCheck, order, as: KeyCheck.self)
            }
            if common.json { return try Output.json(answer) }
            Output.line("good: the recovery key opens all \(answer.keys) keys of your account")
        }
    }
}

/// The recovery key as it was shown, for the JSON at the end.
private final class ShownKey: Sendable {
    private let key = Mutex<String?>(nil)
    var text: String? { key.withLock { $0 } }

    func show(_ text: String, json: Bool) {
        key.withLock { $0 = text }
        if !json { AccountText.show(recoveryKey: text) }
    }
}

/// What a person must read, compare or type.
enum AccountText {
    static let warning = """
        Who has it can read and run all your VMs. Who loses it and all devices has lost everything: nobody else can decrypt it, \
        not even who runs the server.
        """

    static func show(recoveryKey: String) {
        let half = recoveryKey.index(recoveryKey.startIndex, offsetBy: recoveryKey.count / 2)
        Output.line(
            """
            Your recovery key. Write it down now; it is not shown again.

                \(recoveryKey[..<half])
                \(recoveryKey[recoveryKey.index(after: half)...])

            \(warning)

            """)
    }

    static func show(_ id: DeviceID) {
        Output.line(id.grouped)
        if let code = QRCode.text(of: id.grouped) { Output.line(code) }
    }

    static func showWaiting(_ id: DeviceID) {
        show(id)
        Output.line("waiting; on one of your devices:\n  vmsync devices approve \(id.grouped)")
    }

    /// From the terminal without showing it, else from stdin; never from an argument, which other users could see.
    static func readRecoveryKey() throws -> RecoveryKey {
        if isatty(STDIN_FILENO) == 1 {
            guard let typed = getpass("recovery key: ") else {
                throw VMSyncError(.invalidInput, "no recovery key was typed")
            }
            return try RecoveryKey(typed: String(cString: typed))
        }
        guard let line = readLine() else { throw VMSyncError(.invalidInput, "there is no recovery key on stdin") }
        return try RecoveryKey(typed: line)
    }
}

/// A code that a phone's camera reads, drawn by `qrencode`; none where that isn't installed.
enum QRCode {
    static func text(of content: String) -> String? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // Upper case takes a third less room: QR codes have a mode for it. Typed ids may have capitals.
        process.arguments = ["qrencode", "-t", "UTF8", "-m", "1", content.uppercased()]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return process.terminationStatus == 0 ? String(decoding: text, as: UTF8.self) : nil
    }
}
