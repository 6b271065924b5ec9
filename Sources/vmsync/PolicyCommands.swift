import ArgumentParser
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

struct PolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Say when a running VM is saved, and what that may cost.",
        discussion: """
            What is set for a VM holds on all your devices; without a VM it holds for this device, and outweighs what is set \
            for the VM. What vmsync does and why is shown by vmsync status.

              vmsync policy set work --switch-within 1s
              vmsync policy set --on-metered pause --cap-month 5GB
              vmsync policy show work --effective
            """,
        subcommands: [Show.self, Set.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show what is set.")

        @OptionGroup var common: CommonOptions
        @Argument(help: "Name of a VM. (default: what is set for this device)") var name: String?
        @Flag(help: "Show every setting that holds, and where its value comes from.") var effective = false

        func run() async throws {
            let report = try await common.withDaemon {
                try await $0.get(PolicyCommand.path(name), as: PolicyReport.self)
            }
            if common.json { return try Output.json(report) }
            PolicyCommand.show(report, effective: effective)
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change what is set.",
            discussion: """
                A time is 500ms, 20s, 5m, 1h; "default" leaves a setting to what is set elsewhere. Restraints say how much less \
                is synced: "sync" (no less), a time (at most once in it), or "pause". Of several the strictest counts, and a \
                place that is named outweighs --on-metered.
                """)

        @OptionGroup var common: CommonOptions
        @Argument(help: "Name of a VM. (default: set it for this device)") var name: String?
        @OptionGroup var options: PolicyOptions

        func validate() throws { _ = try options.order() }

        func run() async throws {
            let order = try options.order()
            let report = try await common.withDaemon {
                try await $0.post(PolicyCommand.path(name), order, as: PolicyReport.self)
            }
            if common.json { return try Output.json(report) }
            PolicyCommand.show(report, effective: false)
        }
    }

    fileprivate static func path(_ name: String?) -> String {
        guard let name else { return ControlPath.policy }
        var vm = VMArgument()
        vm.name = name
        return vm.path("policy")
    }

    fileprivate static func show(_ report: PolicyReport, effective: Bool) {
        if effective {
            let places = report.places.map { ["at \($0.name)", $0.value, $0.source.rawValue] }
            Output.table(
                ["SETTING", "VALUE", "SET BY"],
                report.effective.map { [$0.name, $0.value, $0.source.rawValue] } + places)
            if !report.presentPlace.isEmpty {
                Output.line("this place is called \(report.presentPlace.joined(separator: " or "))")
            }
        } else if report.here.isEmpty {
            Output.line("nothing is set here\n  next: vmsync policy show --effective")
        } else {
            Output.table(["SETTING", "VALUE"], report.here.sorted { $0.key < $1.key }.map { [$0.key, $0.value] })
        }
        for problem in report.problems { Output.line("passed over: \(problem)") }
    }
}

struct SyncCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sync", abstract: "Save everything to the server now, or fetch everything from it.",
        discussion: "Whatever vmsync policy restrains; only a data cap is kept.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument

    func run() async throws {
        _ = try await common.withDaemon { try await common.run($0, vm.path("sync"), Done(), as: Done.self) }
        if common.json { return try Output.json(["name": vm.name]) }
        Output.line("\(vm.name) is synced")
    }
}

/// Every setting as an option.
struct PolicyOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A checkpoint at least so often while the guest writes, or off.", valueName: "time"))
    var every: String?
    @Option(
        help: ArgumentHelp("Checkpoints when something happens after which people change devices.", valueName: "on|off")
    )
    var events: String?
    @Option(
        help: ArgumentHelp(
            "Keep what isn't saved so little that a switch takes no longer than this, and save no more often than that needs.",
            valueName: "time"))
    var switchWithin: String?
    @Option(help: ArgumentHelp("While the network is metered.", valueName: "restraint")) var onMetered: String?
    @Option(help: ArgumentHelp("While on battery.", valueName: "restraint")) var onBattery: String?
    @Option(help: ArgumentHelp("While the battery has less than a fifth.", valueName: "restraint"))
    var onLowBattery: String?
    @Option(help: ArgumentHelp("While the device has much to do.", valueName: "restraint")) var whenBusy: String?
    @Option(help: ArgumentHelp("Bytes sent and fetched in a day, such as 500MB, or off.", valueName: "bytes"))
    var capDay: String?
    @Option(help: ArgumentHelp("The same in a month.", valueName: "bytes")) var capMonth: String?
    @Option(help: ArgumentHelp("Which bytes the caps are for.", valueName: "all|metered")) var capCounts: String?
    @Option(
        help: ArgumentHelp(
            "How long the active device may be silent before another one takes the VM over by itself, or off.",
            valueName: "time"))
    var failover: String?
    @Option(
        help: ArgumentHelp(
            "Run the VM where its base image isn't all there yet; what is read of it comes first.", valueName: "on|off")
    )
    var startEarly: String?
    @Option(
        help: ArgumentHelp(
            "A restraint for a place, as in home=sync; policy show --effective says what this place is called.",
            valueName: "place=restraint"))
    var at: [String] = []

    /// - Throws: a usage error if nothing is said, or something that can't be meant.
    func order() throws -> PolicyOrder {
        let values: [PolicyKey: String?] = [
            .every: every, .events: events, .switchWithin: switchWithin, .onMetered: onMetered, .onBattery: onBattery,
            .onLowBattery: onLowBattery, .whenBusy: whenBusy, .capPerDay: capDay, .capPerMonth: capMonth,
            .capScope: capCounts, .failover: failover, .startEarly: startEarly,
        ]
        var named: [String: String] = [:]
        for (key, value) in values { if let value { named[key.rawValue] = value } }
        var places: [String: String] = [:]
        for text in at {
            guard let split = text.lastIndex(of: "="), split != text.startIndex else {
                throw ValidationError("--at takes a place and a restraint, as in home=sync")
            }
            places[String(text[..<split])] = String(text[text.index(after: split)...])
        }
        guard !named.isEmpty || !places.isEmpty else {
            throw ValidationError("say what to set, as in --switch-within 1s")
        }
        let order = PolicyOrder(values: named, places: places)
        var trial = PolicyLayer()
        do { try order.apply(to: &trial) } catch {
            throw ValidationError(error.message + (error.hint.map { ": \($0)" } ?? ""))
        }
        return order
    }
}
