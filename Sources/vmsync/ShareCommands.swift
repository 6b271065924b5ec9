import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

struct ShareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "share", abstract: "Give somebody a copy of a VM, by a link that expires.",
        discussion: """
            The link works on any device that has joined this server: vmsync open URL makes a VM of its own there. It contains \
            what was in the VM's memory, such as keys, passwords and unsaved work, unless you say --disk-only.

              vmsync share work --expires 2h --uses 1
              vmsync share work@before-upgrade --expires 3d --disk-only
              vmsync share revoke ID
            """,
        subcommands: [Make.self, Revoke.self], defaultSubcommand: Make.self)

    struct Make: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "make", abstract: "Make a link to a checkpoint. (default)")

        @OptionGroup var common: CommonOptions
        @OptionGroup var target: CheckpointArgument
        @Option(help: "How long it works, as 90m, 2h or 3d.") var expires: TimeSpan
        @Option(help: "When it begins to work, from now.") var starts: TimeSpan?
        @Option(help: "How often it may be opened. (default: as often as one likes)") var uses: Int?
        @Flag(help: "Leave memory out: the copy boots from the disks as they were.") var diskOnly = false

        func run() async throws {
            let order = ShareOrder(
                checkpoint: target.checkpoint, start: starts?.seconds, lifetime: expires.seconds, uses: uses,
                diskOnly: diskOnly)
            let shared = try await common.withDaemon {
                try await common.run($0, target.vm.path("share"), order, as: Shared.self)
            }
            if common.json { return try Output.json(shared) }
            Output.line(shared.url)
            let until = Output.time(shared.share.share.expires)
            var notes = "checkpoint \(shared.checkpoint) of \(target.vm.name), until \(until)"
            if let uses { notes += uses == 1 ? ", once" : ", \(uses) times" }
            if !diskOnly {
                notes +=
                    "\n  WARNING: whoever has this link gets what was in the VM's memory: keys, passwords, unsaved work."
            }
            notes +=
                "\n  whoever gets it types: vmsync open 'URL'\n  to end it: vmsync share revoke \(shared.share.share.id)"
            FileHandle.standardError.write(Data((notes + "\n").utf8))
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke", abstract: "End a link at once. Who has opened it before keeps what he has.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "Of the share; see vmsync shares.") var id: String

        func run() async throws {
            guard let share = ShareID(rawValue: id) else {
                throw VMSyncError(.invalidInput, "\"\(id)\" is no share's id", hint: "vmsync shares")
            }
            _ = try await common.withDaemon {
                try await $0.post(ControlPath.revokeShare, RevokeShareOrder(id: share), as: Done.self)
            }
            if common.json { return try Output.json(["id": id, "state": "revoked"]) }
            Output.line("the link doesn't work any more")
        }
    }
}

struct SharesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "shares", abstract: "Show what you have shared.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let shares = try await common.withDaemon { try await $0.get(ControlPath.shares, as: [ShareStatus].self) }
        if common.json { return try Output.json(shares) }
        Output.table(
            ["ID", "VM", "FROM", "UNTIL", "USED", "HAS", "STATE"],
            shares.map { status in
                let record = status.share
                let uses = record.share.uses.map { " of \($0)" } ?? ""
                return [
                    "\(record.share.id)", status.name, Output.time(record.share.start),
                    Output.time(record.share.expires), "\(record.used)\(uses)",
                    record.share.allow == .run ? "memory" : "disks", state(record),
                ]
            })
    }

    private func state(_ record: ShareRecord) -> String {
        if record.revoked { return "revoked" }
        if Timestamp.now >= record.share.expires { return "expired" }
        if Timestamp.now < record.share.start { return "not yet" }
        return record.share.uses.map { record.used >= $0 } ?? false ? "used up" : "open"
    }
}

struct OpenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open", abstract: "Make a VM of what somebody has shared, and run it here.",
        discussion: """
            It is a VM of its own, which stays when the link has expired. What it does, and what your QEMU reads of it, is up to \
            who made the link: open only those of people whom you would let install a program here.

              vmsync open 'https://…'
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The link, in quotes.") var url: String
    @Option(name: .customLong("as"), help: "What to call it. (default: as it was called)") var name: String?
    @Flag(help: "Don't start it.") var noStart = false

    func run() async throws {
        let order = OpenOrder(url: url, name: name)
        let opened = try await common.withDaemon {
            try await common.run($0, ControlPath.open, order, as: Restored.self)
        }
        if !noStart {
            var vm = VMArgument()
            vm.name = opened.name
            let path = vm.path("start")
            _ = try await common.withDaemon {
                try await common.run($0, path, StartRequest(force: false), as: Done.self)
            }
        }
        if common.json { return try Output.json(opened) }
        Output.line(
            "\(opened.name) \(noStart ? "is here" : "runs")\n  next: vmsync \(noStart ? "start" : "view") \(opened.name)"
        )
    }
}
