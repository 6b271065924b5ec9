import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy

/// One guest on the two devices of a trial: which of them is active, and the guest's console over both.
package struct Stage: Sendable {
    package static let vmName = "work"

    package let trial: Trial
    package let vm: VMID
    package private(set) var active: String
    package private(set) var standby: String
    package private(set) var tape = ConsoleTape()

    package init(_ trial: Trial, active: String, standby: String) async throws {
        self.trial = trial
        self.active = active
        self.standby = standby
        guard let status = try await trial.vm(active) else { throw VMSyncError(.notFound, "the VM is not there") }
        vm = status.id
    }

    private func console(_ device: String) -> String { trial.paths(device, vm).consoleLog }

    // MARK: The guest

    /// Waits until the guest has counted on by `counts` on the active device, with or without its daemon.
    package mutating func waitForGuest(counts: Int) async throws {
        try readTape()
        let goal = tape.witness.count + counts
        let (path, start) = (console(active), tape)
        tape = try await waitFor("the guest to run on \(active)", for: .seconds(120)) {
            var tape = start
            try tape.append(path)
            return tape.witness.count >= goal ? tape : nil
        }
    }

    /// Takes in what the guest has said on the active device so far.
    package mutating func readTape() throws { try tape.append(console(active)) }

    /// Puts aside what the guest has said, on both devices: before it boots again or goes back to a checkpoint, or after it
    /// was taken over.
    package mutating func beginTapeAnew() throws {
        try readTape()
        try tape.append(console(standby))
        tape = tape.cut()
    }

    /// Moves the VM to the standby, as `vmsync switch` there does.
    package mutating func move() async throws -> SwitchRecord {
        let record = try await trial.control(standby) {
            try await $0.run("/vms/\(Self.vmName)/switch", SwitchOrder(to: nil), as: SwitchRecord.self)
        }
        try turn()
        return record
    }

    /// The other device is the active one now; what the guest last said on the old one is complete.
    package mutating func turn() throws {
        try readTape()
        (active, standby) = (standby, active)
    }

    /// Finds out, after a fault, where the guest runs now.
    /// - Throws: `bug` if at any look it runs in two places.
    package mutating func follow() async throws {
        let (here, there) = (active, standby)
        let place = try await waitFor("the guest to run on one device", for: .seconds(120)) { () -> String? in
            let states = (try await trial.vm(here), try await trial.vm(there))
            let running = (states.0?.machine?.state == "running", states.1?.machine?.state == "running")
            if running == (true, true) {
                // It may have moved between the two looks; then it doesn't run on the first one any more.
                guard try await trial.vm(here)?.machine?.state != "running" else {
                    throw VMSyncError(.bug, "the VM runs on \(here) and on \(there)")
                }
                return nil
            }
            // A switch that has not ended may yet move it.
            guard let last = states.0, last.lastSwitch.map(\.state.isOver) ?? true else { return nil }
            if running.0, states.1?.state == .upToDate { return here }
            return running.1 && states.0?.state == .upToDate ? there : nil
        }
        if place == there { try turn() }
    }

    // MARK: The proof

    /// Whether both devices give the same digest for the same checkpoint, the standby having caught up.
    package func standbyAgrees() async throws -> Bool {
        try await trial.waitUntilReady(standby)
        return try await waitFor("both devices to hold the same checkpoint") {
            guard let here = try await trial.vm(active), let there = try await trial.vm(standby),
                here.sequence == there.sequence, here.sequence > .base
            else { return nil }
            return here.digest == there.digest
        }
    }

    /// Suspends the VM, and reads all that both devices hold.
    /// - Returns: whether it is the same, and what they recorded.
    package mutating func suspendAndVerify() async throws -> Bool {
        try await trial.tell(active, "suspend", Done())
        try readTape()
        return try await bothVerify()
    }

    /// Whether both devices hold the same state, read from the first byte to the last. The VM must not run.
    package func bothVerify() async throws -> Bool {
        guard let last = try await trial.vm(active)?.head else { return false }
        var digests: Set<String> = []
        for device in [active, standby] {
            _ = try await waitFor("\(device) to hold checkpoint \(last)") {
                try await trial.vm(device)?.sequence == last ? true : nil
            }
            let found = try await trial.control(device) {
                try await $0.post("/vms/\(Self.vmName)/verify", as: Verification.self)
            }
            digests.formUnion([found.recorded, found.recomputed])
        }
        return digests.count == 1
    }

    /// Goes on where the guest was suspended, then presses its power button.
    package mutating func shutDownAndCheckDisk() async throws -> DiskCheck {
        try await trial.tell(active, "start", Done())
        try await waitForGuest(counts: 5)
        return try await powerOffAndCheckDisk()
    }

    /// Presses the power button of the running guest.
    package mutating func powerOffAndCheckDisk() async throws -> DiskCheck {
        try await trial.tell(active, "stop", StopRequest(force: false))
        try readTape()
        return try await DiskCheck(socket: trial.paths(active, vm).disks, folder: trial.folder)
    }

    /// The whole proof that nothing was lost, at the end of a trial; the VM is shut down afterwards.
    /// - Returns: what was lost, in words; empty if nothing was.
    package mutating func losses() async throws -> [String] {
        var losses: [String] = []
        if try await !suspendAndVerify() { losses.append("the devices hold different states") }
        let disk = try await shutDownAndCheckDisk()
        let witness = tape.witness
        let missing = witness.synced.subtracting(disk.logged)
        if witness.gaps > 0 { losses.append("\(witness.gaps) gaps in the guest's counter") }
        if witness.nonces.count != 1 { losses.append("the guest was started \(witness.nonces.count) times") }
        if witness.synced.isEmpty { losses.append("the guest wrote nothing to its disk") }
        if !missing.isEmpty { losses.append("\(missing.count) lines that the guest was told were safe") }
        if !disk.isClean { losses.append("the guest's file system isn't clean") }
        return losses
    }

    package func metrics() async throws -> [CheckpointMetrics] {
        var all: [CheckpointMetrics] = []
        for device in [active, standby] {
            all += try await trial.control(device) {
                try await $0.get("/vms/\(Self.vmName)/metrics", as: [CheckpointMetrics].self)
            }
        }
        return all
    }
}

extension Trial {
    /// Makes the VM of the trial of `guest`.
    package nonisolated func create(_ guest: SmallGuest, on device: String) async throws {
        _ = try await control(device) {
            try await $0.run(ControlPath.vms, guest.order(Stage.vmName), as: String.self)
        }
    }

    /// Asks `device` to do something with the VM of the trial, and waits until it is done.
    package nonisolated func tell(_ device: String, _ verb: String, _ order: some Encodable) async throws {
        _ = try await control(device) {
            try await $0.run("/vms/\(Stage.vmName)/\(verb)", order, as: Done.self)
        }
    }
}

extension SwitchState {
    /// Whether nothing can come of the switch any more.
    fileprivate var isOver: Bool {
        switch self {
        case .requested, .ready, .moved: false
        case .done, .refused, .failed, .expired: true
        }
    }
}
