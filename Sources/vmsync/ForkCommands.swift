import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore

struct ForksCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forks", abstract: "Show what was done here while the VM went on elsewhere, and pick.",
        discussion: """
            A device that was away while somebody took its VM over keeps what was done there since. Nothing of it is lost \
            until you say so.

              vmsync forks work
              vmsync forks keep work 3-1204 --as work-on-the-train
              vmsync forks drop work 3-1204
            """,
        subcommands: [List.self, Keep.self, Drop.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "Show what is kept here.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var vm: VMArgument

        func run() async throws {
            let (forks, head) = try await common.withDaemon { client in
                (
                    try await client.get(vm.path("forks"), as: [KeptFork].self),
                    try? await client.thumbnail("latest", of: vm)
                )
            }
            if common.json { return try Output.json(forks) }
            guard !forks.isEmpty else { return Output.line("nothing was done here that \(vm.name) doesn't have") }
            Output.table(
                ["FORK", "UNTIL", "FOLLOWS", "SIZE", ""],
                forks.map {
                    [
                        $0.id, Output.time(Timestamp(rawValue: Int64($0.until * 1000))), "checkpoint \($0.parent)",
                        "\(ByteCount($0.bytes))",
                        $0.missing.map { "not to its end: \($0)" } ?? "",
                    ]
                })
            if Terminal.isOutput {
                for fork in forks { try draw(fork.picture, "fork \(fork.id)") }
                try draw(head, "\(vm.name) as it is now")
            }
            Output.line("  next: vmsync forks keep \(vm.name) \(forks[0].id), or forks drop")
        }

        private func draw(_ message: PictureMessage?, _ title: String) throws {
            guard let message else { return }
            Output.line(title)
            Terminal.draw(try message.picture)
        }
    }

    struct Keep: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a VM of its own of it, which runs beside the other.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var vm: VMArgument
        @Argument(help: "The fork, as vmsync forks shows it.") var id: String
        @Option(name: .customLong("as"), help: "What to call the VM.") var newName: String?

        func run() async throws {
            let order = ForkOrder(id: id, name: newName)
            let made = try await common.withDaemon {
                try await common.run($0, vm.path("forks/keep"), order, as: Restored.self)
            }
            if common.json { return try Output.json(made) }
            Output.line("\(made.name) is a VM of its own\n  next: vmsync start \(made.name)")
        }
    }

    struct Drop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove it. Nobody can bring it back.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var vm: VMArgument
        @Argument(help: "The fork, as vmsync forks shows it.") var id: String
        @Flag(name: [.long, .customShort("y")], help: "Don't ask.") var yes = false

        func run() async throws {
            if !yes { try Terminal.confirm("remove what was done here, fork \(id) of \(vm.name), for good?") }
            let order = ForkOrder(id: id)
            _ = try await common.withDaemon { try await $0.post(vm.path("forks/drop"), order, as: Done.self) }
            if common.json { return try Output.json(["dropped": id]) }
            Output.line("fork \(id) is gone")
        }
    }
}
