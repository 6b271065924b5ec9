import ArgumentParser
import Foundation
import UnixSignals
import VMSyncCore
import VMSyncStudy

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo", abstract: "Watch a running VM move between two devices, here and now.",
        discussion: """
            Starts a server and two devices on loopback, runs the small guest on one, moves it back and forth while it \
            runs, and proves that nothing was lost. Leaves no process and no file behind.
            """)

    @Flag(help: "End with one JSON object on one line.") var json = false
    @Option(help: "How often the VM moves.") var switches = 3
    @Option(help: "Folder of the guest. (default: $VMSYNC_GUESTS/x86_64)") var guest: String?

    func validate() throws {
        guard (1...100_000).contains(switches) else { throw ValidationError("--switches takes 1 to 100000") }
    }

    func run() async throws {
        let start = ContinuousClock.now
        let json = json
        let demo = Demo(guest: try SmallGuest(folder: guest), switches: switches) { text in
            let line = String(format: "%6.1f s  ", (ContinuousClock.now - start).seconds) + text
            if json { FileHandle.standardError.write(Data((line + "\n").utf8)) } else { Output.line(line) }
        }
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let report = try await cancelledBySignals { try await demo.run(program: program) }
        if json { try Output.json(report) } else { show(report) }
        if !report.ok { throw ExitCode(1) }
    }

    private func show(_ report: DemoReport) {
        let downtimes = report.switches.map(\.downtime_ms).sorted()
        Output.line("")
        Output.line(String(format: "switch: %.0f ms without the guest (median)", downtimes.percentile(50) ?? 0))
        Output.line(
            String(
                format: "checkpoints: pause %.1f ms (median), %.1f ms (99th percentile) of %d", report.pauses_ms.p50,
                report.pauses_ms.p99, report.pauses_ms.count))
        Output.line("packs: \(ByteCount(report.pack_bytes.p50)) (median), largest \(ByteCount(report.pack_bytes.max))")
        Output.line("memory kept: \(report.guest.nonce_kept ? "yes" : "NO")")
        Output.line("gaps in the guest's counter: \(report.guest.counter_gaps)")
        Output.line("lines lost after fsync: \(report.guest.fsync_lost)")
        Output.line("file system clean: \(report.guest.fsck_clean ? "yes" : "NO")")
        Output.line("both devices held the same state: \(report.digests_equal ? "yes" : "NO")")
        Output.line(report.ok ? "\nNothing was lost." : "\nSOMETHING WAS LOST.")
    }
}

/// Runs `body`, and cancels it at Ctrl-C, so that it can clean up.
func cancelledBySignals<Result: Sendable>(_ body: @escaping @Sendable () async throws -> Result) async throws -> Result
{
    try await withThrowingTaskGroup(of: Result?.self) { group in
        let signals = await UnixSignalsSequence(trapping: [.sigint, .sigterm])
        group.addTask { try await body() }
        group.addTask {
            for await _ in signals { return nil }
            return nil
        }
        defer { group.cancelAll() }
        let first = try await group.next() ?? nil
        if let first { return first }
        group.cancelAll()
        // Wait until everything is cleaned up; that it was cancelled is known.
        while let rest = try? await group.next() { _ = rest }
        throw VMSyncError(.cancelled, "interrupted")
    }
}
