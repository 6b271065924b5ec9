import ArgumentParser
import Foundation
import VMSyncSimulation

extension Canary: ExpressibleByArgument {}

/// The command line of the simulation: parse, run histories, print.
@main
struct VMSyncSim: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vmsync-sim",
        abstract: "Tries vmsync's decisions in simulated worlds.",
        discussion: """
            Each history is a world of devices, a server, links, a person and faults,
            made from one seed: the same seed gives the same history, everywhere. After
            each step the invariants are checked, and in the end, when nothing goes wrong
            any more, the VM must be of use again.

            vmsync-sim                        20,000 histories
            vmsync-sim --seeds 1000000        a million, with all processors
            vmsync-sim --seed 4711            that history again, step by step
            vmsync-sim --canary lostFence     with a planted bug, which must be found

            Exit codes: 0 all held (or the canary was found), 1 one did not (or it was
            not), 2 usage.
            """)

    @Option(help: "How many histories.")
    var seeds: UInt64 = 20_000

    @Option(help: "The first seed.")
    var from: UInt64 = 0

    @Option(help: "Replay the history of this seed, and print what happens in it.")
    var seed: UInt64?

    @Option(help: "Plant a bug: \(Canary.allCases.map(\.rawValue).joined(separator: ", ")).")
    var canary: Canary?

    @Option(help: "How many threads. (default: one for each processor)")
    var threads = ProcessInfo.processInfo.activeProcessorCount

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard seeds > 0 else { throw ValidationError("--seeds must be at least 1") }
        guard (1...256).contains(threads) else { throw ValidationError("--threads must be 1 to 256") }
        guard from.addingReportingOverflow(seeds).overflow == false else {
            throw ValidationError("--from and --seeds name seeds beyond the highest")
        }
    }

    func run() throws {
        if let seed { return try replay(seed) }
        let start = ContinuousClock.now
        let campaign = runAll()
        let report = Report(campaign, took: ContinuousClock.now - start)
        print(json ? try report.json : report.text)
        // With a canary it is success that a history failed.
        guard (campaign.failure == nil) == (canary == nil) else { throw ExitCode.failure }
    }

    private func replay(_ seed: UInt64) throws {
        var world = World(seed: seed, canary: canary, isLogging: true)
        var found: Violation?
        do throws(Violation) { try world.run() } catch { found = error }
        if json {
            print(try Replay(seed: seed, log: world.log, steps: world.steps, violation: found).json)
        } else {
            for line in world.log { print(line) }
            print(found.map { "\($0)" } ?? "all invariants held, in \(world.steps) steps")
        }
        guard (found == nil) == (canary == nil) else { throw ExitCode.failure }
    }

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let code as ExitCode {
            exit(withError: code)
        } catch {
            // What ArgumentParser refuses is usage; its own code for that is another one.
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            guard code != .success else {
                print(text)
                exit(withError: code)
            }
            FileHandle.standardError.write(Data((text + "\n").utf8))
            exit(withError: ExitCode(2))
        }
    }
}
