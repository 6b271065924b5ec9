import ArgumentParser

/// The command line: each command parses, calls one module, and prints. No decision is made here.
@main
struct Vmsync: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vmsync", abstract: "Keeps one running VM on all of your devices.",
        subcommands: [ServerCommand.self])
}
