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

            Between devices that are too unlike (vmsync doctor shows which) it moves with --cold: the guest is shut down where \
            it runs, and boots on the other device.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Option(help: "Name of the device. (default: this one)") var to: String?
    @Flag(help: "Shut the guest down, and boot it on the other device.") var cold = false
    @Flag(help: "Take the VM over, to this device, from one that is away. Says what would be lost, and asks.")
    var force = false
    @Flag(name: [.long, .customShort("y")], help: "With --force: don't ask.") var yes = false

    func validate() throws {
        guard !force || !cold else { throw ValidationError("a device that is away can't shut its guest down") }
        guard !force || to == nil else {
            throw ValidationError("--force takes the VM to this device; say it on the device that is to have it")
        }
    }

    func run() async throws {
        if force { return try await takeOver() }
        let start = ContinuousClock.now
        let record = try await common.withDaemon {
            try await common.run(
                $0, vm.path("switch"), SwitchOrder(to: to, isCold: cold ? true : nil), as: SwitchRecord.self)
        }
        let breakdown = SwitchBreakdown(record, total: (ContinuousClock.now - start).milliseconds)
        if common.json { return try Output.json(breakdown) }
        // Of a guest that boots nobody can say how long it stood still.
        Output.line(cold ? "\(vm.name) boots on the other device" : "\(vm.name) moved: \(breakdown.text)")
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
