import Foundation
import Logging
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy

/// One VM's state on one device, at a known checkpoint: its memory, its disks, its device state, and their hashes.
///
/// On a standby it changes by applying packs (`Replica+Apply`). On the active device the running QEMU changes memory and
/// disks, and the replica is what they were at the last sealed checkpoint: `Replica+Capture` takes what is new out of a
/// paused guest, `Replica+Seal` makes a pack of it.
///
/// Every step is safe against a killed daemon: see the order of writes in each. Not Sendable: it belongs to one VM's
/// actor, on whose own thread it may block.
package final class Replica {
    /// A disk with the hashes of its blocks.
    struct Disk {
        let overlay: OverlayDisk
        let hashes: UnitHashTable
    }

    package let definition: MachineDefinition
    package let paths: MachinePaths
    package internal(set) var record: ReplicaRecord
    package let memory: GuestMemory
    let pages: UnitHashTable
    let parents: ParentPages
    let disks: [Disk]
    /// The index of each disk's base image; nil where the image's folder can't hold one, or the image is still to come.
    private(set) var bases: [BaseIndex?]
    /// Nil until a checkpoint is sealed, and after a pack was applied.
    var finder: ContentFinder?
    /// The device state that was applied last: reading it again takes 5 ms of a switch. Nil while the VM runs here.
    var appliedState: (hash: Hash128, bytes: [UInt8])?
    /// The device state whose file this process has written or checked: to check it again takes half a millisecond.
    var checkedState: Hash128?
    /// What the capture that isn't sealed yet took out of the guest.
    package let captured: CapturedPages
    let workspace = PackWorkspace()
    /// What compressing took lately.
    var encoder: EncoderEstimate?
    /// What the pack sealed last is made of.
    package internal(set) var lastTally = PackTally()
    let logger: Logger

    /// Opens the replica in `paths`, or makes one at the base.
    ///
    /// After a reboot memory is gone; unless the VM was shut off, the replica falls back to the base and must be
    /// brought up to date from the server.
    /// - Parameters:
    ///   - bases: the raw base image of each disk, unchanging.
    ///   - arriving: those of them that aren't whole yet, by the number of their disk.
    package init(
        vm: VMID, definition: MachineDefinition, paths: MachinePaths, bases: [String],
        arriving: [Int: ArrivingImage] = [:], bootID: String, logger: Logger
    ) throws(VMSyncError) {
        for folder in [paths.state, paths.run, paths.memory, paths.outbox, paths.inbox] {
            try AtomicFile.makeFolder(folder)
        }
        self.definition = definition
        self.paths = paths
        self.logger = logger
        memory = try GuestMemory(path: paths.ram, size: definition.memory)
        captured = CapturedPages(of: memory)
        pages = try UnitHashTable(path: paths.ramHashes, count: definition.memoryUnits)
        parents = ParentPages(memoryUnits: definition.memoryUnits)
        disks = try Self.openDisks(definition, paths: paths, bases: bases, arriving: arriving, bootID: bootID)
        self.bases = zip(bases, definition.disks).enumerated().map { disk, pair in
            arriving[disk] == nil ? Self.index(pair.0, of: pair.1, logger) : nil
        }
        let saved = AtomicFile.readIfWhole(ReplicaRecord.self, at: paths.record) { logger.warning("\($0.message)") }
        record = saved ?? .base(vm, disks: definition.disks.count, bootID: bootID)
        guard record.vm == vm else { throw VMSyncError(.corrupt, "\(paths.record) is that of VM \(record.vm)") }
        // Without a record, whatever lies in the folders is of no known checkpoint.
        if saved == nil { try clearAll() } else { try recover(bootID: bootID) }
    }

    /// Opens the index of the image at `base`, which has become whole, unless it is open; makes it if it isn't there, which reads all
    /// of the image.
    package func index(_ base: String, of disk: Int) {
        if bases[disk] == nil { bases[disk] = Self.index(base, of: definition.disks[disk], logger) }
    }

    private static func index(_ base: String, of disk: MachineDefinition.Disk, _ logger: Logger) -> BaseIndex? {
        do throws(VMSyncError) {
            return try BaseIndex(base: base, diskSize: disk.size)
        } catch {
            logger.warning("what stands on \(base) is sent all the same: \(error.message)")
            return nil
        }
    }

    private static func openDisks(
        _ definition: MachineDefinition, paths: MachinePaths, bases: [String], arriving: [Int: ArrivingImage],
        bootID: String
    ) throws(VMSyncError) -> [Disk] {
        precondition(bases.count == definition.disks.count)
        var disks: [Disk] = []
        for (index, disk) in definition.disks.enumerated() {
            let folder = paths.disk(index)
            if !FileManager.default.fileExists(atPath: folder + "/map.log") {
                try OverlayDisk.create(
                    folder: folder, base: bases[index], arriving: arriving[index], size: disk.size)
            }
            let overlay = try OverlayDisk.open(
                folder: folder, base: bases[index], arriving: arriving[index], size: disk.size, bootID: bootID)
            let hashes = try UnitHashTable(path: paths.diskHashes(index), count: Unit.count(ofBytes: disk.size))
            disks.append(Disk(overlay: overlay, hashes: hashes))
        }
        return disks
    }

    /// Brings the parts together again after the daemon was killed or the host rebooted.
    private func recover(bootID: String) throws(VMSyncError) {
        if record.damage == ReplicaRecord.beingReset {
            return try reset(bootID: bootID, keepsOutbox: record.outboxEnd != nil)
        }
        if record.bootID != bootID { try recoverFromReboot(bootID) }
        try finishSealing()
        endSealing()
        tidyOutbox()
        removeOldDeviceStates()
        if record.applying == nil, record.damage == nil, currentDigestOfTables() != record.digest {
            record.damage = "its hashes don't add up to the digest of checkpoint \(record.sequence)"
        }
    }

    /// A VM that was shut off needs no memory, so it stays; any other begins again from the base.
    private func recoverFromReboot(_ bootID: String) throws(VMSyncError) {
        let mayStay = record.kind == .off && record.applying == nil && record.damage == nil
        guard mayStay, pages.sum == .zero, diskDigests() == record.digest.disks else {
            logger.notice("the device was restarted: this replica begins again from the base image")
            keepOutboxOverReboot()
            return try reset(bootID: bootID, keepsOutbox: true)
        }
        try memory.clear()
        for disk in disks { try settle(disk) }
        record.bootID = bootID
        try saveRecord()
    }

    /// A power loss leaves every block of a disk marked as changed. Where none differs from the checkpoint, none is.
    private func settle(_ disk: Disk) throws(VMSyncError) {
        let frozen = try disk.overlay.freeze()
        defer { frozen.release() }
        var buffer = [UInt8](repeating: 0, count: Unit.size)
        for block in frozen.blocks {
            let unit = Int(block.index)
            try buffer.withMutableRawBytes { bytes throws(VMSyncError) in try frozen.read(block, into: bytes) }
            guard buffer.withRawBytes({ UnitHash.block($0) }) == disk.hashes[unit] else { return }
        }
        disk.overlay.seal(upTo: frozen.upTo)
    }

    /// Back to the base: memory zero, disks as their base images, nothing in the outbox. No QEMU may run.
    /// - Parameter keepsOutbox: what waits is of no use to this replica any more, but to others.
    package func reset(bootID: String? = nil, keepsOutbox: Bool = false) throws(VMSyncError) {
        record.bootID = bootID ?? record.bootID
        if !keepsOutbox { record.outboxEnd = nil }
        try beginReset()
        for folder in keepsOutbox ? [paths.inbox] : [paths.outbox, paths.inbox] {
            AtomicFile.remove(folder)
            try AtomicFile.makeFolder(folder)
        }
        try clearAll()
    }

    /// Every part as the base has it; the record says so at the end.
    func clearAll() throws(VMSyncError) {
        try beginReset()
        try memory.clear()
        try Fault.point("reset-begun")
        try pages.clear()
        parents.forgetAll()
        AtomicFile.remove(paths.stash)
        for disk in disks {
            try disk.overlay.reset()
            try disk.hashes.clear()
        }
        record.damage = nil
        try saveRecord()
        removeOldDeviceStates()
    }

    /// The record first: whatever happens from here on, the next start begins from the base again.
    private func beginReset() throws(VMSyncError) {
        let end = record.outboxEnd
        record = .base(record.vm, disks: disks.count, bootID: record.bootID)
        record.outboxEnd = end
        record.damage = ReplicaRecord.beingReset
        try saveRecord()
    }

    /// Notes that memory or disks are of no checkpoint any more, so that they never run; the replica must be reset.
    package func markDamaged(_ reason: String) throws(VMSyncError) {
        record.damage = reason
        try saveRecord()
    }

    func saveRecord() throws(VMSyncError) {
        // An off VM outlives a reboot, so its record must not be newer than what a power loss leaves of its disks.
        if record.kind == .off {
            for disk in disks {
                try disk.overlay.flush()
                try disk.hashes.flush()
            }
        }
        try AtomicFile.write(record, to: paths.record, durable: record.kind == .off)
    }

    func diskDigests() -> [Hash128] { disks.map(\.hashes.sum) }

    /// The digest as the hash tables have it, with the device state of the record.
    func currentDigestOfTables() -> StateDigest {
        StateDigest(memory: pages.sum, disks: diskDigests(), deviceState: record.digest.deviceState)
    }

    /// The disks, for the NBD server.
    package var overlays: [OverlayDisk] { disks.map(\.overlay) }

    /// Flushes and lets go of the disks.
    package func close() throws(VMSyncError) {
        for disk in disks { try disk.overlay.close() }
    }
}
