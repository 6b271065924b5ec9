import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// A checkpoint of a VM, as a person types it.
struct CheckpointArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The VM, and a checkpoint by its number or tag.", valueName: "name@checkpoint"))
    var reference: String

    private var parts: [String] {
        reference.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    }

    var vm: VMArgument {
        var vm = VMArgument()
        vm.name = parts[0]
        return vm
    }

    /// Without one the newest is meant.
    var checkpoint: String { parts.count > 1 ? parts[1] : "latest" }

    /// - Throws: a usage error without `@`.
    func requireCheckpoint() throws {
        guard parts.count == 2, !parts[1].isEmpty else {
            throw ValidationError(
                "say which checkpoint, as in \(parts[0])@42 or \(parts[0])@latest; see vmsync history")
        }
    }
}

struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Show the checkpoints that a VM can go back to, the newest first.",
        discussion: """
            Each has a number. Give it a name with vmsync tag, go back with vmsync restore NAME@NUMBER, or make a VM of its own \
            of it with vmsync restore NAME@NUMBER --as NEW. Some have a small picture of the screen.

              vmsync history work --thumbnails --limit 5
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Option(help: "How many to show.") var limit = 20
    @Flag(help: "Show all.") var all = false
    @Flag(help: "Draw the pictures too.") var thumbnails = false

    func validate() throws {
        guard !thumbnails || Terminal.isOutput && !common.json else {
            throw ValidationError("--thumbnails draws on a terminal; vmsync thumbnail writes a file")
        }
    }

    func run() async throws {
        try await common.withDaemon { client in
            let entries = try await client.get(vm.path("history"), as: [HistoryEntry].self)
            if common.json { return try Output.json(entries) }
            let shown = entries.reversed().prefix(all ? entries.count : max(0, limit))
            let lines = Output.lines(
                ["CHECKPOINT", "TIME", "SIZE", "DEVICE", "STATE", "TAG"], shown.map(cells))
            Output.line(lines[0])
            for (line, entry) in zip(lines.dropFirst(), shown) {
                Output.line(line)
                guard thumbnails, entry.hasThumbnail else { continue }
                do {
                    Terminal.draw(try await client.thumbnail("\(entry.sequence)", of: vm).picture)
                } catch {
                    // It may have been forgotten just now; the list is none the worse for it.
                    Output.line("  (\(VMSyncError(error).message))")
                }
            }
            if entries.count > shown.count { Output.line("and \(entries.count - shown.count) older ones: --all") }
        }
    }

    private func cells(_ entry: HistoryEntry) -> [String] {
        [
            "\(entry.sequence)", Output.time(entry.created), entry.bytes.map { "\(ByteCount($0))" } ?? "-",
            entry.device, entry.kind == .live ? "running" : "off", note(entry),
        ]
    }

    private func note(_ entry: HistoryEntry) -> String {
        [entry.tag, entry.cameFrom.map { "(back to \($0))" }].compactMap(\.self).joined(separator: " ")
    }
}

struct TagCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag", abstract: "Give a checkpoint a name, by which it is found, and is never forgotten.",
        discussion: "  vmsync tag work@latest before-upgrade")

    @OptionGroup var common: CommonOptions
    @OptionGroup var target: CheckpointArgument
    @Argument(help: "The name.") var tag: String?
    @Flag(help: "Take the name off.") var remove = false

    func validate() throws {
        guard (tag == nil) == remove else { throw ValidationError("either a name or --remove") }
    }

    func run() async throws {
        let order = TagOrder(checkpoint: target.checkpoint, tag: tag)
        let sequence = try await common.withDaemon {
            try await $0.post(target.vm.path("tag"), order, as: Sequence.self)
        }
        if common.json { return try Output.json(Tagged(name: target.vm.name, checkpoint: sequence, tag: tag)) }
        Output.line("checkpoint \(sequence) of \(target.vm.name) " + (tag.map { "is \"\($0)\"" } ?? "has no name now"))
    }

    private struct Tagged: Encodable {
        let name: String
        let checkpoint: Sequence
        let tag: String?
    }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Go back to a checkpoint, or make a new VM of it.",
        discussion: """
            Going back makes a new checkpoint; what came after the old one stays in the history. The VM must be suspended or off.
            With --as the VM itself stays as it is, and may run on: a copy comes to be, with an identity of its own. Say \
            --disk-only for one that boots from the disks as they were, as after a power failure.

              vmsync restore work@before-upgrade
              vmsync restore work@1234 --as work-of-monday
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var target: CheckpointArgument
    @Option(name: .customLong("as"), help: "Name of the new VM.") var newName: String?
    @Flag(help: "Leave memory out of the new VM.") var diskOnly = false

    func validate() throws {
        if newName == nil {
            try target.requireCheckpoint()
            if diskOnly { throw ValidationError("--disk-only needs --as NEW") }
        }
    }

    func run() async throws {
        let order = RestoreOrder(checkpoint: target.checkpoint, newName: newName, diskOnly: diskOnly)
        let restored = try await common.withDaemon {
            try await common.run($0, target.vm.path("restore"), order, as: Restored.self)
        }
        if common.json { return try Output.json(restored) }
        let what = newName == nil ? "\(restored.name) is back at \(target.checkpoint)" : "\(restored.name) is made"
        Output.line("\(what)\n  next, on any device: vmsync start \(restored.name)")
    }
}

struct ForgetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Take checkpoints off the list, all but those that the rules keep.",
        discussion: """
            What has a tag stays, and the newest. The space is free after vmsync prune, or with --prune.

              vmsync forget work --keep-within 1h --keep-hourly 24 --keep-daily 30 --dry-run
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Option(help: "Keep the newest ones.") var keepLast: Int?
    @Option(help: "Keep what is younger, as 90m, 12h or 7d.") var keepWithin: TimeSpan?
    @Option(help: "Keep one of each of so many hours.") var keepHourly: Int?
    @Option(help: "Keep one of each of so many days.") var keepDaily: Int?
    @Flag(name: [.long, .customShort("n")], help: "Only say what would be forgotten.") var dryRun = false
    @Flag(help: "Free the space too.") var prune = false
    @Flag(name: [.long, .customShort("y")], help: "Don't ask.") var yes = false

    func run() async throws {
        let rules = Retention(last: keepLast, within: keepWithin?.seconds, hourly: keepHourly, daily: keepDaily)
        try rules.validate()
        if !dryRun, !yes {
            let trial = try await order(rules, isTrial: true)
            try Terminal.confirm("forget \(trial.sequences.count) checkpoints of \(vm.name)?")
        }
        let report = try await order(rules, isTrial: dryRun)
        if prune, !dryRun {
            let freed = try await common.withDaemon {
                try await $0.post(vm.path("prune"), PruneRequest(isTrial: false), as: PruneReport.self)
            }
            if common.json { return try Output.json(["forgotten": report, "pruned": freed]) }
            Output.line("\(report.sequences.count) checkpoints forgotten, \(ByteCount(freed.bytes)) freed")
            return
        }
        if common.json { return try Output.json(report) }
        let verb = dryRun ? "would be forgotten" : "forgotten"
        Output.line("\(report.sequences.count) checkpoints \(verb); vmsync prune frees \(ByteCount(report.bytes)) then")
        if dryRun { Output.line("  next: the same without --dry-run") }
    }

    private func order(_ rules: Retention, isTrial: Bool) async throws -> PruneReport {
        try await common.withDaemon {
            try await $0.post(vm.path("forget"), ForgetOrder(rules: rules, isTrial: isTrial), as: PruneReport.self)
        }
    }
}

struct PruneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune", abstract: "Free the space of what no checkpoint on the list needs.",
        discussion: "Nothing that can be restored is lost by it. VMs run and are saved meanwhile.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Flag(name: [.long, .customShort("n")], help: "Only say what would be freed.") var dryRun = false

    func run() async throws {
        let report = try await common.withDaemon {
            try await $0.post(vm.path("prune"), PruneRequest(isTrial: dryRun), as: PruneReport.self)
        }
        if common.json { return try Output.json(report) }
        Output.line("\(ByteCount(report.bytes)) \(dryRun ? "would be freed" : "freed") (\(report.packs) packs)")
    }
}

/// "90m", "12h", "7d".
struct TimeSpan: ExpressibleByArgument {
    let seconds: Double
    /// A hundred years.
    private static let longest = 100 * 366 * 86_400.0

    init?(argument: String) {
        let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
        guard let unit = argument.last.flatMap({ units[$0] }), let number = Double(argument.dropLast()), number >= 0,
            number * unit <= Self.longest
        else { return nil }
        seconds = number * unit
    }
}
