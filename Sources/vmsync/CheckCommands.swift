import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Look whether every checkpoint on the list can be gone back to.",
        discussion: "With --read-data all that they need is fetched, and checked byte by byte.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Flag(help: "Fetch everything.") var readData = false

    func run() async throws {
        let report = try await common.withDaemon {
            try await common.run($0, vm.path("check"), CheckOrder(readsData: readData), as: CheckReport.self)
        }
        if common.json {
            try Output.json(report)
        } else {
            CheckText.show(report, of: vm.name)
            if !report.problems.isEmpty { Output.line("  next: vmsync repair \(vm.name)") }
        }
        if !report.problems.isEmpty { throw ExitCode(1) }
    }
}

struct RepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Say what to do about a history that is damaged, and with --yes do it.",
        discussion: """
            Everything is fetched and checked. Checkpoints to which only damaged packs lead are lost: they are taken off the \
            list, and the damaged packs are removed, so that the others stay in reach.
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Flag(name: [.long, .customShort("y")], help: "Do it.") var yes = false

    func run() async throws {
        let report = try await common.withDaemon {
            yes
                ? try await common.run($0, vm.path("repair"), Done(), as: CheckReport.self)
                : try await common.run($0, vm.path("check"), CheckOrder(readsData: true), as: CheckReport.self)
        }
        if common.json { return try Output.json(report) }
        CheckText.show(report, of: vm.name)
        guard let plan = report.plan, !plan.packs.isEmpty else { return }
        if plan.losesHead {
            return Output.line("the newest checkpoint is among them: start \(vm.name) on a device that is up to date")
        }
        let lost = plan.lost.map(\.description).joined(separator: ", ")
        Output.line(
            "\(yes ? "removed" : "would remove") \(plan.packs.count) packs; "
                + (lost.isEmpty ? "no checkpoint is lost" : "lost: \(lost)"))
        if !yes { Output.line("  next: vmsync repair \(vm.name) --yes") }
    }
}

private enum CheckText {
    static func show(_ report: CheckReport, of name: String) {
        for problem in report.problems { Output.line(problem) }
        Output.line(
            "\(name): \(report.checkpoints) checkpoints, \(report.packs) packs, \(ByteCount(report.bytes)): "
                + (report.problems.isEmpty ? "all is well" : "\(report.problems.count) problems"))
    }
}
