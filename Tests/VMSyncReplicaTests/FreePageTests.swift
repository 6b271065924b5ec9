import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

extension LiveGuestTests {
    /// Written by the guest and freed again: far more than it writes by itself.
    private static let filled = 48 << 20
    /// What is given back of it at least. The guest reports pieces of 2 MiB, and a piece of which it uses one page stays.
    private static let freed = filled / 2
    /// Files of such pieces, so that what they leave is pieces too, however scattered the guest's other pages lie.
    private static let mount = "mkdir -p /tmp/huge; mount -t tmpfs -o huge=always none /tmp/huge"
    private static let fill = "head -c \(filled) /dev/urandom > /tmp/huge/fill"
    private static let free = "rm /tmp/huge/fill"

    @Test("frees memory, which becomes holes here and zeros at the standby, and is not sent")
    func freePages() async throws {
        let guest = try await SmallGuest.find(.x86_64)
        let vm = VMID.random()
        try await TestFolder.with { folder in
            let ramwatch = try await Ramwatch.build(in: folder)
            try await GuestHost.with(guest, vm: vm, ramwatch: ramwatch) { source in
                try await GuestHost.with(guest, vm: vm, ramwatch: ramwatch) { target in
                    let machine = try await source.launch()
                    try await GuestConsole.with(source.paths.console) { console in
                        try await freePages(machine, console, on: source, followedBy: target)
                    }
                    await machine.end()
                }
            }
        }
    }

    private func freePages(
        _ machine: Machine, _ console: GuestConsole, on source: GuestHost, followedBy target: GuestHost
    ) async throws {
        let tracker = try source.tracker(of: machine)
        try await machine.resume()
        _ = try await WitnessLog.wait(source.paths.consoleLog, counter: 3)
        try await console.type("\(Self.mount); \(Self.fill); echo filled")
        try await waitFor("filled", on: source)
        try await seal(machine, on: source, tracker, isCurrent: false)
        try source.send(to: target)
        let full = try storedBytes(source)
        let followed = try storedBytes(target)

        try await console.type(Self.free)
        try await waitUntil("the guest's free memory is given back", by: source) {
            try storedBytes(source) < full - Self.freed
        }
        let sealed = try await seal(machine, on: source, tracker, isCurrent: true)
        #expect(try source.replica.recomputedDigest() == source.replica.record.digest)
        #expect(sealed.packBytes < Self.filled / 4, "what was freed is not sent")
        try source.send(to: target)
        #expect(try target.replica.recomputedDigest() == source.replica.record.digest)
        #expect(try storedBytes(target) < followed - Self.freed)

        // Written and freed between two checkpoints.
        try await machine.resume()
        try await console.type("\(Self.fill); echo again")
        try await waitFor("again", on: source)
        let filled = try storedBytes(source)
        try await console.type(Self.free)
        try await waitUntil("the guest's free memory is given back again", by: source) {
            try storedBytes(source) < filled - Self.freed
        }
        let last = try await seal(machine, on: source, tracker, isCurrent: true)
        #expect(last.packBytes < Self.filled / 4, "what was written and freed is not sent")
        try source.send(to: target)
        #expect(try target.replica.recomputedDigest() == source.replica.record.digest)
    }

    /// A checkpoint after which the guest stays paused; the first one lets it run.
    @discardableResult
    private func seal(
        _ machine: Machine, on host: GuestHost, _ tracker: DirtyTracker, isCurrent: Bool
    ) async throws -> SealedCheckpoint {
        var live = try await host.replica.captureLive(
            of: machine, tracker: tracker, trackerIsCurrent: isCurrent, thenResume: !isCurrent)
        if isCurrent {
            var found = IndexSet()
            for run in live.capture.runs { found.insert(integersIn: run) }
            for run in try host.replica.changedPages() {
                #expect(found.contains(integersIn: run), "pages \(run) were missed")
            }
        }
        return try await host.replica.sealLive(
            &live, of: machine, header: host.header(qemu: machine.version), thenResume: !isCurrent)
    }

    private func storedBytes(_ host: GuestHost) throws -> Int {
        var status = stat()
        guard stat(host.paths.ram, &status) == 0 else { throw VMSyncError.system("stat", path: host.paths.ram) }
        return Int(status.st_blocks) * 512
    }

    private func waitFor(_ word: String, on host: GuestHost) async throws {
        try await waitUntil("the guest says \(word)", by: host) {
            host.witness().others.contains { $0.contains(word) && !$0.contains("echo") }
        }
    }

    private func waitUntil(_ what: String, by host: GuestHost, _ condition: () throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(90)
        while try !condition() {
            guard ContinuousClock.now < deadline else {
                let words = host.witness().others.suffix(5)
                throw VMSyncError(
                    .timeout, "too long until \(what): \(try storedBytes(host)) bytes of memory stored, \(words)")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
