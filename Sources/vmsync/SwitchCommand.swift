import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

struct SwitchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switch", abstract: "Move the running VM to this device, or to another one.",
        discussion: """
            The VM goes on with every program and window as it was. Outgoing TCP connections end: they belong to the \
            device that opened them.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Option(help: "Name of the device. (default: this one)") var to: String?
    @Flag(help: "Take the VM over, to this device, from one that is away. Says what would be lost, and asks.")
    var force = false
    @Flag(name: [.long, .customShort("y")], help: "With --force: don't ask.") var yes = false

    func validate() throws {
        guard !force || to == nil else {
            throw ValidationError("--force takes the VM to this device; say it on the device that is to have it")
        }
    }

    func run() async throws {
        if force { return try await takeOver() }
        let start = ContinuousClock.now
        let record = try await common.withDaemon {
            try await common.run($0, vm.path("switch"), SwitchOrder(to: to), as: SwitchRecord.self)
        }
        let breakdown = SwitchBreakdown(record, total: (ContinuousClock.now - start).milliseconds)
        if common.json { return try Output.json(breakdown) }
        Output.line("\(vm.name) moved: \(breakdown.text)")
    }

    private func takeOver() async throws {
        try await common.withDaemon { client in
            let seen = try await client.get(vm.path("takeover"), as: Takeover.self)
            if !yes { try Terminal.confirm(question(seen)) }
            let order = StartRequest(force: true, epoch: seen.epoch)
            _ = try await common.run(client, vm.path("start"), order, as: Done.self)
            if common.json { return try Output.json(seen) }
            Output.line("\(vm.name) runs here, from checkpoint \(seen.head)\n  next: vmsync view \(vm.name)")
        }
    }

    private func question(_ seen: Takeover) -> String {
        guard let device = seen.device else { return "\(vm.name) is active nowhere; start it here?" }
        var lines: [String] = []
        if let age = seen.savedSecondsAgo {
            let time = Output.time(Timestamp(rawValue: Timestamp.now.rawValue - Int64(age * 1000)))
            lines.append("\(device) last synced \(time), \(Output.age(age)) ago (checkpoint \(seen.head))")
        } else {
            lines.append("\(device) has not synced anything yet")
        }
        if seen.connected {
            lines.append("\(device) is there: without --force nothing would be lost")
        } else if let silent = seen.silentSeconds {
            lines.append("the server last heard from it \(Output.age(silent)) ago")
        }
        lines.append("what was done there since stays there, as a fork, if that device comes back")
        return lines.joined(separator: "\n") + "\ntake \(vm.name) over?"
    }
}
