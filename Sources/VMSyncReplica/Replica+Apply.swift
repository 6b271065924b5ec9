import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

extension Replica {
    /// Where the pack of checkpoint `sequence` is to be put before `applyInbox`.
    package func inboxPath(_ sequence: Sequence) -> String { "\(paths.inbox)/\(sequence).pack" }

    /// Applies the pack that lies in the inbox as checkpoint `sequence`; it must not change meanwhile.
    ///
    /// Order: everything is checked → the record says *applying* → units, hashes, device state → the record names the
    /// new checkpoint → the pack is removed. Killed anywhere in between, the same pack is applied again.
    /// - Returns: the manifest of the checkpoint that the replica holds now.
    /// - Throws: `corrupt` or `incompatible`, with nothing changed; or `corrupt` with the replica marked as damaged, if
    ///   the digest came out wrong in spite of all checks.
    @discardableResult
    package func applyInbox(_ sequence: Sequence) throws(VMSyncError) -> Manifest {
        let manifest = try MappedFile.with(inboxPath(sequence)) { bytes throws(VMSyncError) in
            try apply(PackReader(bytes), as: sequence)
        }
        AtomicFile.remove(inboxPath(sequence))
        return manifest
    }

    /// Has what the pack of checkpoint `sequence` in the inbox takes from base images fetched soon, where they are still to come.
    /// - Returns: whether all of it is here, so that applying the pack waits for nothing.
    package func wantBase(for sequence: Sequence) throws(VMSyncError) -> Bool {
        try MappedFile.with(inboxPath(sequence)) { bytes throws(VMSyncError) in
            let reader = try PackReader(bytes)
            try checkFollows(reader.manifest, as: sequence)
            return try wantBase(for: reader)
        }
    }

    private func wantBase(for reader: PackReader) throws(VMSyncError) -> Bool {
        guard disks.contains(where: { !$0.overlay.hasWholeBase }) else { return true }
        var isHere = true
        // A keyframe begins on disks that hold nothing else.
        let isKeyframe = reader.manifest.isKeyframe
        func want(_ disk: Int, _ block: Int, unlessReplaced: Bool) {
            if !disks[disk].overlay.wantBase(UInt64(block), unlessReplaced: unlessReplaced) { isHere = false }
        }
        try reader.forEachUnit { unit, value throws(VMSyncError) in
            switch (value.source, unit.space) {
            case (.base(let disk, let block), _): want(disk, block, unlessReplaced: false)
            case (.own, .disk(let disk)): want(disk, unit.index, unlessReplaced: !isKeyframe)
            case (.parent(let id), _):
                if case .disk(let disk) = id.space { want(disk, id.index, unlessReplaced: !isKeyframe) }
            default: break
            }
        }
        return isHere
    }

    private func apply(_ reader: PackReader, as sequence: Sequence) throws(VMSyncError) -> Manifest {
        let manifest = reader.manifest
        try checkFollows(manifest, as: sequence)
        let validation = try withParentState(of: manifest) { state throws(VMSyncError) in
            try reader.validate(parentDeviceState: state)
        }
        guard try wantBase(for: reader) else {
            throw VMSyncError(
                .unavailable, "parts of the base image that checkpoint \(sequence) needs are still to come",
                hint: "connect this device to the server")
        }
        // Always, for a VM that ran from the base has changed it.
        if manifest.isKeyframe { try clearAll() }
        let stash = try stash(validation.stash, for: sequence)
        finder = nil
        record.applying = sequence
        try saveRecord()
        try Fault.point("apply-begun")
        if reader.clearsMemory { try clearMemory() }
        try apply(reader, stash)
        try Fault.point("apply-units-done")
        try finishApplying(manifest, state: validation.deviceState)
        AtomicFile.remove(paths.stash)
        return manifest
    }

    private func withParentState<Result>(
        of manifest: Manifest, _ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        if manifest.isKeyframe { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return try withDeviceState(body)
    }

    /// Saves what the pack both uses and changes. When the pack is applied again after a kill, it may have been changed,
    /// so what was saved then is taken.
    private func stash(_ units: [UnitID], for sequence: Sequence) throws(VMSyncError) -> UnitStash {
        if units.isEmpty { return UnitStash() }
        if record.applying == sequence { return try readStash(sequence) }
        var stash = UnitStash()
        for unit in units { try stash.add(unit) { bytes throws(VMSyncError) in try read(unit, into: bytes) } }
        try stash.write(to: paths.stash, sequence: sequence)
        return stash
    }

    /// What an earlier attempt has saved. Without it nothing knows the parent any more.
    private func readStash(_ sequence: Sequence) throws(VMSyncError) -> UnitStash {
        do throws(VMSyncError) {
            return try UnitStash(path: paths.stash, sequence: sequence)
        } catch {
            record.applying = nil
            try markDamaged("checkpoint \(sequence) can't be applied again: \(error.message)")
            throw error
        }
    }

    private func apply(_ reader: PackReader, _ stash: UnitStash) throws(VMSyncError) {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Unit.size, alignment: 64)
        defer { scratch.deallocate() }
        try reader.forEachUnit { unit, value throws(VMSyncError) in
            switch unit.space {
            case .memory: try applyPage(value, at: unit.index, stash, scratch)
            case .disk(let disk): try applyBlock(value, to: disk, at: unit.index, stash, scratch)
            }
            try Fault.point("apply-unit")
        }
    }

    /// Whether a pack was being applied when the daemon died; it is then to be applied again, and lies in the inbox.
    package var interruptedApply: Sequence? {
        record.applying.flatMap { FileManager.default.fileExists(atPath: inboxPath($0)) ? $0 : nil }
    }

    private func checkFollows(_ manifest: Manifest, as sequence: Sequence) throws(VMSyncError) {
        guard manifest.vm == record.vm, manifest.sequence == sequence else {
            throw VMSyncError(
                .corrupt, "the pack is checkpoint \(manifest.sequence) of VM \(manifest.vm), expected \(sequence)")
        }
        guard manifest.definition == definition else {
            throw VMSyncError(.incompatible, "checkpoint \(sequence) is of a VM that is built otherwise")
        }
        if manifest.isKeyframe { return }
        guard record.damage == nil else {
            throw VMSyncError(.corrupt, "this replica is damaged: \(record.damage ?? "")")
        }
        guard manifest.parent == record.sequence, manifest.parentDigest == record.digest.combined else {
            throw VMSyncError(
                .outOfOrder,
                "checkpoint \(sequence) follows \(manifest.parent), this replica holds \(record.sequence)")
        }
        guard record.applying == nil || record.applying == sequence else {
            throw VMSyncError(.outOfOrder, "this replica has a part of checkpoint \(record.applying ?? .base)")
        }
        guard disks.allSatisfy({ $0.overlay.dirtyCount == 0 }) else {
            throw VMSyncError(.wrongState, "the VM wrote to its disks here since checkpoint \(record.sequence)")
        }
    }

    private func clearMemory() throws(VMSyncError) {
        try memory.clear()
        try pages.clear()
        parents.forgetAll()
    }

    private func applyPage(
        _ value: UnitValue, at index: Int, _ stash: UnitStash, _ scratch: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        switch value.source {
        case .zero where value.runs.isEmpty:
            memory.punch(index)
            parents.forget(index)
            return pages.set(index, .zero)
        case .own:
            break
        case .whole(let bytes):
            memory.writablePage(index).copyMemory(from: bytes)
        default:
            try read(value.source, stash, into: scratch)
            memory.writablePage(index).copyMemory(from: UnsafeRawBufferPointer(scratch))
        }
        value.runs.apply(to: memory.writablePage(index))
        let page = memory.page(index)
        parents.keep(index, page)
        pages.set(index, UnitHash.page(page))
    }

    private func applyBlock(
        _ value: UnitValue, to number: Int, at index: Int, _ stash: UnitStash, _ scratch: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        let disk = disks[number]
        if case .zero = value.source, value.runs.isEmpty {
            try disk.overlay.apply(block: UInt64(index), content: nil)
            return disk.hashes.set(index, UnitHash.zeroBlock)
        }
        if case .own = value.source {
            try disk.overlay.readBlock(UInt64(index), into: scratch)
        } else {
            try read(value.source, stash, into: scratch)
        }
        value.runs.apply(to: scratch)
        // Behind the end of the disk there are zeros, whatever the pack says: the hash is of what the disk then holds.
        let end = Int(disk.overlay.size) - index * Unit.size
        for byte in min(end, Unit.size)..<Unit.size { scratch[byte] = 0 }
        let block = UnsafeRawBufferPointer(scratch)
        try disk.overlay.apply(block: UInt64(index), content: block)
        disk.hashes.set(index, UnitHash.block(block))
    }

    /// Puts what any source but *own* gives into `unit`.
    private func read(
        _ source: UnitSource, _ stash: UnitStash, into unit: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        switch source {
        case .zero: unit.initializeMemory(as: UInt8.self, repeating: 0)
        case .whole(let bytes): unit.copyMemory(from: bytes)
        case .base(let disk, let block): try disks[disk].overlay.readBase(UInt64(block), into: unit)
        case .parent(let id):
            if !stash.with(id, unit.copyMemory) { try read(id, into: unit) }
        // An earlier record of the same pack has put it.
        case .new(let id): try read(id, into: unit)
        case .own: throw VMSyncError(.bug, "a unit is its own source")
        }
    }

    /// Puts what the replica holds of `id` now into `unit`.
    private func read(_ id: UnitID, into unit: UnsafeMutableRawBufferPointer) throws(VMSyncError) {
        switch id.space {
        case .memory: unit.copyMemory(from: memory.page(id.index))
        case .disk(let disk): try disks[disk].overlay.readBlock(UInt64(id.index), into: unit)
        }
    }

    private func finishApplying(_ manifest: Manifest, state: [UInt8]?) throws(VMSyncError) {
        var digest = currentDigestOfTables()
        digest.deviceState = manifest.digest.deviceState
        guard digest == manifest.digest else {
            record.damage =
                "after checkpoint \(manifest.sequence) its digest is \(digest.combined), not \(manifest.digest.combined)"
            record.applying = nil
            try saveRecord()
            throw VMSyncError(
                .corrupt, "this replica is damaged: \(record.damage ?? "")",
                hint: "it is rebuilt from the server by itself; see vmsync status")
        }
        if let state { try put(deviceState: state, hash: digest.deviceState, of: manifest.sequence) }
        appliedState = state.map { (digest.deviceState, $0) }
        try Fault.point("apply-unrecorded")
        record = ReplicaRecord(
            vm: record.vm, sequence: manifest.sequence, kind: manifest.kind, digest: digest, qemu: manifest.qemu,
            accelerator: manifest.accelerator, bootID: record.bootID, applying: nil, damage: nil)
        try saveRecord()
        removeOldDeviceStates()
    }
}
