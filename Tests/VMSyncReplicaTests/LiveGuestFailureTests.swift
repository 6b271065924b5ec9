import Foundation
import NIOCore
import QMP
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

extension LiveGuestTests {
    @Test("that dies in the middle of a checkpoint gives an error and leaves the replica as it was")
    func killed() async throws {
        let guest = try await SmallGuest.find(.x86_64)
        try await GuestHost.with(guest, vm: .random()) { host in
            let machine = try await host.launch()
            try await machine.resume()
            _ = try await WitnessLog.wait(host.paths.consoleLog, counter: 2)
            let record = host.replica.record
            let stopped = try await machine.stopAndSave()
            let capture = try host.replica.capture(tracker: nil)
            kill(machine.process.pid, SIGKILL)
            let error = await #expect(throws: VMSyncError.self) {
                // The state may have been sent before the end; then QEMU isn't missed before it is told to go on.
                try await machine.waitUntilSaved(stopped)
                try await machine.resume()
            }
            print("killed: \(error.map(String.init(describing:)) ?? "")")
            #expect(error?.code == .machine)
            #expect(error?.message.contains("QEMU") == true)
            let resumed = await #expect(throws: VMSyncError.self) { try await machine.resume() }
            #expect(resumed?.code == .machine)
            capture.release()
            #expect(host.replica.record == record)
            #expect(try host.replica.outbox().isEmpty)
            await machine.end()
            #expect(try await host.adopt() == nil)
            #expect(throws: Never.self) { try host.replica.reset() }
            #expect(try host.replica.recomputedDigest() == host.replica.record.digest)
        }
    }

    @Test("is adopted by another daemon, which finds all changes by comparing")
    func adopted() async throws {
        let guest = try await SmallGuest.find(.x86_64)
        let vm = VMID.random()
        try await GuestHost.with(guest, vm: vm) { host in
            let first = try await host.launch()
            try await first.resume()
            _ = try await WitnessLog.wait(host.paths.consoleLog, counter: 3)
            await first.release()
            let second = try #require(try await host.adopt())
            #expect(second.process == first.process)
            #expect(try await second.runState() == .running)
            for _ in 0..<2 {
                let live = try await host.replica.captureLive(
                    of: second, tracker: nil, trackerIsCurrent: false, thenResume: false)
                #expect(live.capture.method == .compare)
                let header = host.header(qemu: second.version)
                _ = try host.replica.seal(live.capture, deviceState: live.deviceState, header: header)
                #expect(try host.replica.recomputedDigest() == host.replica.record.digest)
                try await second.resume()
            }
            let counter = host.witness().lines.last?.counter ?? 0
            let log = try await WitnessLog.wait(host.paths.consoleLog, counter: counter + 5)
            #expect(log.isGapless)
            await second.end()
        }
    }

    @Test("doesn't take a state that isn't its own, and says why")
    func wrongState() async throws {
        let guest = try await SmallGuest.find(.x86_64)
        try await GuestHost.with(guest, vm: .random()) { host in
            let machine = try await host.launch(.incoming)
            let error = await #expect(throws: VMSyncError.self) {
                try await machine.loadDeviceState([UInt8](repeating: 7, count: 100_000))
            }
            print("wrong state: \(error.map(String.init(describing:)) ?? "")")
            #expect(error?.code == .machine)
            await machine.end()
        }
    }

    @Test("that shuts down is not made a checkpoint of, and not let run again")
    func shutDown() async throws {
        let guest = try await SmallGuest.find(.x86_64)
        try await GuestHost.with(guest, vm: .random()) { host in
            let machine = try await host.launch()
            try await machine.resume()
            _ = try await WitnessLog.wait(host.paths.consoleLog, counter: 2)
            try await machine.pressPowerButton()
            let deadline = ContinuousClock.now + .seconds(60)
            while try await machine.runState() != .shutdown, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(20))
            }
            let error = await #expect(throws: VMSyncError.self) { try await machine.stopAndSave() }
            #expect(error?.code == .shutDown)
            #expect(try await machine.runState() == .shutdown)
            await machine.end()
        }
    }
}
