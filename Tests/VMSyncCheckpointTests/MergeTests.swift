import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// The law: `apply(merge(a…z)) = apply(a); …; apply(z)`.
@Suite("Merging packs")
struct MergeTests {
    /// 20 × 5,000 = 100,000 cases.
    @Test("does what the packs do one after the other, however they are grouped", arguments: 0..<20)
    func law(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var failures = 0
        for _ in 0..<5_000 {
            let start = ModelState.base.after(.random(&random))
            let (first, second, third) = (PackContent.random(&random), PackContent.random(&random), PackContent.random(&random))
            let expected = start.after(first).after(second).after(third)
            let left = first.followed(by: second).followed(by: third)
            let right = first.followed(by: second.followed(by: third))
            if start.after(first.followed(by: second)) != start.after(first).after(second) { failures += 1 }
            if start.after(left) != expected || start.after(right) != expected { failures += 1 }
        }
        #expect(failures == 0, "seed \(seed)")
    }

    @Test("of packs as bytes: units, device state and manifest", arguments: 0..<8)
    func bytes(seed: UInt64) throws {
        var random = SeededRandom(seed: 1000 + seed)
        let definition = MachineDefinition.sample(disks: [5 * 4096, 3 * 4096])
        for _ in 0..<40 {
            let start = ModelState.base.after(.random(&random))
            let states = (0..<3).map { _ in random.bytes(random.number(1..<3000)) }
            let first = try Link(.random(&random), after: nil, definition, state: states[1], parentState: states[0])
            let second = try Link(
                .random(&random, mayStartAtBase: false), after: first, definition, state: states[2], parentState: states[1])
            let merged = try merge(first.pack, second.pack, state: states[0])
            let read = try UnpackedPack(merged, parentState: states[0])
            let content = try merged.withUnsafeBytes { try PackContent(PackReader($0)) }
            #expect(start.after(content) == start.after(first.content).after(second.content))
            #expect(read.deviceState == states[2])
            #expect(read.manifest.parent == first.manifest.parent)
            #expect(read.manifest.parentDigest == first.manifest.parentDigest)
            #expect(read.manifest.sequence == second.manifest.sequence)
            #expect(read.manifest.digest == second.manifest.digest)
        }
    }

    @Test("refuses packs that don't follow each other, and damaged ones")
    func refusals() throws {
        var random = SeededRandom(seed: 4)
        let definition = MachineDefinition.sample(disks: [5 * 4096, 3 * 4096])
        let first = try Link(.random(&random), after: nil, definition, state: [1], parentState: [])
        let second = try Link(
            .random(&random, mayStartAtBase: false), after: first, definition, state: [2], parentState: [1])
        #expect(throws: VMSyncError.self) { try merge(second.pack, first.pack, state: []) }
        #expect(throws: VMSyncError.self) { try merge(first.pack, first.pack, state: []) }
        var damaged = second.pack
        damaged[damaged.count / 2] ^= 1
        #expect(throws: VMSyncError.self) { try merge(first.pack, damaged, state: []) }
        #expect(try !merge(first.pack, second.pack, state: []).isEmpty)
    }

    private func merge(_ first: [UInt8], _ second: [UInt8], state: [UInt8]) throws -> [UInt8] {
        var merged: [UInt8] = []
        let length = try first.withRawBytes { first throws(VMSyncError) in
            try second.withRawBytes { second throws(VMSyncError) in
                try Merge.merge(first, second, deviceState: state, compressor: ZstdCompressor()) {
                    merged.append(contentsOf: $0)
                }
            }
        }
        #expect(length == merged.count)
        return merged
    }
}

/// A pack in a chain of them.
private struct Link {
    let content: PackContent
    let manifest: Manifest
    let pack: [UInt8]

    init(
        _ content: PackContent, after parent: Link?, _ definition: MachineDefinition, state: [UInt8],
        parentState: [UInt8]
    ) throws {
        var manifest = Manifest.sample(definition, deviceState: state)
        manifest.sequence = Sequence(rawValue: parent.map { $0.manifest.sequence.rawValue + 1 } ?? 7)
        manifest.parent =
            parent?.manifest.sequence ?? (content.startsAtBase ? .base : Sequence(rawValue: 6))
        manifest.parentDigest = parent?.manifest.digest.combined ?? Hash128(value: 77)
        // No two checkpoints of a chain are equal.
        manifest.digest.memory = Hash128(value: UInt128(manifest.sequence.rawValue))
        var pack: [UInt8] = []
        let writer = try PackWriter(compressor: ZstdCompressor(), clearsMemory: content.clearsMemory) {
            pack.append(contentsOf: $0)
        }
        try content.write(to: writer)
        try state.withRawBytes { state throws(VMSyncError) in
            try (content.startsAtBase ? [] : parentState).withRawBytes { parent throws(VMSyncError) in
                try writer.addDeviceState(state, parent: parent)
            }
        }
        _ = try writer.finish(manifest)
        self.content = content
        self.manifest = manifest
        self.pack = pack
    }
}
