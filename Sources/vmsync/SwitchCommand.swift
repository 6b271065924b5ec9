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

    func run() async throws {
        let start = ContinuousClock.now
        let record = try await common.withDaemon {
            try await common.run($0, vm.path("switch"), SwitchOrder(to: to), as: SwitchRecord.self)
        }
        let breakdown = SwitchBreakdown(record, total: (ContinuousClock.now - start).milliseconds)
        if common.json { return try Output.json(breakdown) }
        Output.line("\(vm.name) moved: \(breakdown.text)")
    }
}
