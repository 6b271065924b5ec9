import ArgumentParser
import Foundation
import VMSyncCore

/// The command line: each command parses, calls one module, and prints. No decision is made here.
@main
struct Vmsync: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vmsync",
        abstract: "Keeps one running computer on all your devices.",
        discussion: """
            Your computer is a virtual machine. It runs on the device in hand and stands ready on the others.

            First steps:
              vmsync server run --listen 0.0.0.0:7430   on the box at home; it prints its address and the first code
              vmsync join ADDRESS CODE                  on your first device, and with vmsync invite on each other
              vmsync create work --disk image.qcow2 --memory 2G
              vmsync start work
              vmsync switch work                        on another device: the running VM moves there

            Exit codes: 0 done, 1 failure, 2 usage, 10 not found, 11 lease held elsewhere, 12 not authorized,
            130 interrupted. Every command takes --json.
            """,
        version: "0.1.0",
        groupedSubcommands: [
            CommandGroup(
                name: "VMs:",
                subcommands: [
                    CreateCommand.self, ListCommand.self, StatusCommand.self, StartCommand.self, SwitchCommand.self,
                    ViewCommand.self, SuspendCommand.self, StopCommand.self, PolicyCommand.self, SyncCommand.self,
                    ForksCommand.self, VerifyCommand.self,
                ]),
            CommandGroup(
                name: "History:",
                subcommands: [
                    HistoryCommand.self, TagCommand.self, ThumbnailCommand.self, RestoreCommand.self,
                    ForgetCommand.self, PruneCommand.self, CheckCommand.self, RepairCommand.self,
                ]),
            CommandGroup(
                name: "Sharing:",
                subcommands: [ShareCommand.self, OpenCommand.self, SharesCommand.self]),
            CommandGroup(
                name: "Devices:",
                subcommands: [
                    JoinCommand.self, InviteCommand.self, DevicesCommand.self, KeyCommand.self, DoctorCommand.self,
                    DaemonCommand.self,
                ]),
            CommandGroup(
                name: "Server and trial:",
                subcommands: [ServerCommand.self, DemoCommand.self, SessionCommand.self, BenchCommand.self]),
        ])

    static func main() async {
        Heap.giveLargeBlocksBack()
        do {
            var command = try parseAsRoot()
            if var waiting = command as? any AsyncParsableCommand {
                try await waiting.run()
            } else {
                try command.run()
            }
        } catch let error as VMSyncError {
            Output.fail(error, json: CommandLine.arguments.contains("--json"))
        } catch {
            // The parser's own errors know their exit code; usage is 2 by convention.
            let code = exitCode(for: error)
            if code.isSuccess { exit(withError: error) }
            if code == .validationFailure, CommandLine.arguments.contains("--json") {
                Output.fail(VMSyncError(.invalidInput, message(for: error)), json: true)
            }
            FileHandle.standardError.write(Data((fullMessage(for: error) + "\n").utf8))
            Foundation.exit(code == .validationFailure ? 2 : code.rawValue)
        }
    }
}
