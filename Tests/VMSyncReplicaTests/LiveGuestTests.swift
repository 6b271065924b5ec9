import Foundation
import NIOCore
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// A real guest under a real QEMU, followed by a second device. One at a time: each takes a processor.
@Suite("A running guest", .serialized)
struct LiveGuestTests {
    @Test("is followed by a standby, where it goes on with the same memory and disk")
    func followed() async throws {
        try await follow(.x86_64, checkpoints: 20)
    }

    @Test("is followed on aarch64 too")
    func followedAarch64() async throws {
        try await follow(.aarch64, checkpoints: 4)
    }

    private func follow(_ architecture: MachineDefinition.Architecture, checkpoints: Int) async throws {
        let guest = try await SmallGuest.find(architecture)
        let vm = VMID.random()
        try await TestFolder.with { folder in
            let ramwatch = try await Ramwatch.build(in: folder)
            try await GuestHost.with(guest, vm: vm, ramwatch: ramwatch) { source in
                try await GuestHost.with(guest, vm: vm, ramwatch: ramwatch) { target in
                    let machine = try await source.launch()
                    let tracker = try source.tracker(of: machine)
                    try await run(machine, on: source, followedBy: target, tracker, checkpoints: checkpoints)
                    try await move(machine, from: source, to: target, tracker)
                }
            }
        }
    }

    /// Takes checkpoints of the running guest, each applied by the standby.
    private func run(
        _ machine: Machine, on source: GuestHost, followedBy target: GuestHost, _ tracker: DirtyTracker,
        checkpoints: Int
    ) async throws {
        try await machine.resume()
        var counter = try await WitnessLog.wait(source.paths.consoleLog, counter: 3).lines.last?.counter ?? 0
        try await checkpoint(machine, on: source, tracker: tracker, isCurrent: false, label: "first")
        try source.send(to: target)
        for number in 1...checkpoints {
            let log = try await WitnessLog.wait(source.paths.consoleLog, counter: counter + 2)
            counter = log.lines.last?.counter ?? 0
            try await checkpoint(machine, on: source, tracker: tracker, label: "\(number)")
            try source.send(to: target)
            #expect(target.replica.record.digest == source.replica.record.digest)
        }
        #expect(source.witness().isGapless)
    }

    /// One checkpoint, as the daemon makes it; with `checked` the guest stays paused until the oracle was asked.
    private func checkpoint(
        _ machine: Machine, on host: GuestHost, tracker: DirtyTracker?, isCurrent: Bool = true, label: String,
        goesOn: Bool = true
    ) async throws {
        let thenResume = goesOn && !isCurrent
        var live = try await host.replica.captureLive(
            of: machine, tracker: tracker, trackerIsCurrent: isCurrent, thenResume: thenResume)
        if !thenResume { try checkComplete(live.capture, of: host.replica) }
        let sealed = try await host.replica.sealLive(
            &live, of: machine, header: host.header(qemu: machine.version), thenResume: thenResume)
        if goesOn, !thenResume { try await machine.resume() }
        print(
            """
            \(host.guest.architecture) checkpoint \(label): pause \(live.pause.length) \(live.pause.parts) \
            \(live.capture.method); \(live.capture.pages) pages, \(sealed.units) units, \
            device state \(live.deviceState.count), pack \(sealed.packBytes) bytes
            """)
    }

    /// The oracle: what a comparison of all memory finds is among what was captured, as it is in the pause.
    private func checkComplete(_ capture: Capture, of replica: Replica) throws {
        var tracked = IndexSet()
        for run in capture.runs { tracked.insert(integersIn: run) }
        for run in try replica.changedPages() { #expect(tracked.contains(integersIn: run), "pages \(run) were missed") }
        try replica.captured.forEach { index, page in
            if !page.elementsEqual(replica.memory.page(index)) { Issue.record("page \(index) was written afterwards") }
        }
    }

    /// Ends the guest here and lets it go on there.
    private func move(
        _ machine: Machine, from source: GuestHost, to target: GuestHost, _ tracker: DirtyTracker
    ) async throws {
        let successor = try await target.launch(.incoming)
        try await successor.preloadScreen(of: target.replica.deviceState())
        try await checkpoint(machine, on: source, tracker: tracker, label: "last but one")
        try source.send(to: target)
        try await successor.preloadScreen(of: target.replica.deviceState())
        try await checkpoint(machine, on: source, tracker: tracker, label: "last", goesOn: false)
        try source.send(to: target)
        #expect(try source.replica.recomputedDigest() == source.replica.record.digest)
        #expect(try target.replica.recomputedDigest() == target.replica.record.digest)
        #expect(target.replica.record.digest == source.replica.record.digest)
        #expect(try target.replica.changedPages().isEmpty)
        await machine.end()
        #expect(!machine.process.isAlive)
        let before = source.witness()
        let last = try #require(before.lines.last)

        let state = try target.replica.deviceState()
        #expect(successor.canLoad(state))
        try await successor.loadDeviceState(state)
        #expect(try target.replica.changedPages().isEmpty, "loading the state wrote no memory")
        try await successor.resume()
        let after = try await WitnessLog.wait(target.paths.consoleLog, counter: last.counter + 15)
        #expect(WitnessLog(lines: before.lines + after.lines).isGapless)
        #expect(Set((before.lines + after.lines).map(\.nonce)).count == 1)
        #expect((after.lines.last?.synced ?? 0) > last.counter, "it writes to its disk")
        #expect(after.others.isEmpty)
        await successor.end()
    }
}
