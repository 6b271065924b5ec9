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
            let (first, second, third) = (
                PackContent.random(&random), PackContent.random(&random), PackContent.random(&random)
            )
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
        for _ in 0..<40 {
            let start = ModelState.base.after(.random(&random))
            let state = random.bytes(random.number(1..<3000))
            let first = try Link(&random, after: nil, parentState: state)
            let second = try Link(&random, after: first, parentState: first.state ?? [])
            let merged = try merge(first.pack, second.pack, state: state)
            let read = try UnpackedPack(merged, parentState: state)
            let content = try merged.withUnsafeBytes { try PackContent(PackReader($0)) }
            #expect(start.after(content) == start.after(first.content).after(second.content))
            #expect(read.deviceState == second.state)
            #expect(read.isWithinBounds)
            var expected = second.manifest
            if !second.content.startsAtBase {
                expected.parent = first.manifest.parent
                expected.parentDigest = first.manifest.parentDigest
            }
            #expect(read.manifest == expected)
        }
    }

    @Test("refuses packs that don't follow each other, and damaged ones")
    func refusals() throws {
        var random = SeededRandom(seed: 4)
        let first = try Link(&random, after: nil, parentState: [], mayStartAtBase: false)
        let second = try Link(&random, after: first, parentState: first.state ?? [], mayStartAtBase: false)
        #expect(try !merge(first.pack, second.pack, state: []).isEmpty)
        #expect(throws: VMSyncError.self) { try merge(second.pack, first.pack, state: []) }
        #expect(throws: VMSyncError.self) { try merge(first.pack, first.pack, state: []) }
        let stranger = try Link(&random, after: nil, parentState: [], mayStartAtBase: false)
        let strangers = try Link(&random, after: stranger, parentState: stranger.state ?? [], mayStartAtBase: false)
        #expect(throws: VMSyncError.self) { try merge(first.pack, strangers.pack, state: []) }
        var damaged = second.pack
        damaged[damaged.count / 2] ^= 1
        #expect(throws: VMSyncError.self) { try merge(first.pack, damaged, state: []) }
        #expect(throws: VMSyncError.self) { try merge(damaged, second.pack, state: []) }
    }

    @Test("equal contents go once")
    func once() throws {
        var random = SeededRandom(seed: 5)
        let page = random.bytes(Unit.size)
        let values = [UnitID.page(1), .page(4), .block(0), .block(2, disk: 1)].map {
            ($0, PackContent.Value(.whole(page)))
        }
        let first = try Link(
            PackContent(startsAtBase: false, clearsMemory: false, values: Dictionary(uniqueKeysWithValues: values)),
            after: nil, state: [1], parentState: [])
        let empty = PackContent(startsAtBase: false, clearsMemory: false, values: [:])
        let second = try Link(empty, after: first, state: [1], parentState: [1])
        let read = try UnpackedPack(merge(first.pack, second.pack, state: []))
        #expect(
            read.entries.map(\.source) == [.whole(page), .new(.page(1)), .new(.page(1)), .new(.page(1))])
    }

    private func merge(_ first: [UInt8], _ second: [UInt8], state: [UInt8]) throws -> [UInt8] {
        var merged: [UInt8] = []
        let (length, _) = try first.withRawBytes { first throws(VMSyncError) in
            try second.withRawBytes { second throws(VMSyncError) in
                try Merge.merge(first, second, deviceState: state, workspace: PackWorkspace()) {
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
    /// Nil if the VM is off.
    let state: [UInt8]?
    let pack: [UInt8]

    /// A random one, of which some are keyframes and some of a VM that is off.
    init(
        _ random: inout SeededRandom, after parent: Link?, parentState: [UInt8], mayStartAtBase: Bool = true
    ) throws {
        var content = PackContent.random(&random, mayStartAtBase: mayStartAtBase)
        let isOff = random.oneIn(4)
        if isOff {
            content.clearsMemory = true
            content.values = content.values.filter { $0.key.space != .memory }
        }
        let state = random.bytes(random.number(1..<3000))
        try self.init(content, after: parent, state: isOff ? nil : state, parentState: parentState)
    }

    init(_ content: PackContent, after parent: Link?, state: [UInt8]?, parentState: [UInt8]) throws {
        let manifest = Self.manifest(content, after: parent, state: state)
        var pack: [UInt8] = []
        let writer = try PackWriter(clearsMemory: content.clearsMemory && state != nil) {
            pack.append(contentsOf: $0)
        }
        if let state {
            try (content.startsAtBase ? [] : parentState).withUnsafeBytes { parent in
                try writer.addDeviceState(state, parent: parent)
            }
        }
        try content.write(to: writer)
        _ = try writer.finish(manifest)
        self.content = content
        self.manifest = manifest
        self.state = state
        self.pack = pack
    }

    private static func manifest(_ content: PackContent, after parent: Link?, state: [UInt8]?) -> Manifest {
        let definition = MachineDefinition.sample(disks: [5 * 4096, 3 * 4096])
        var manifest = Manifest.sample(definition, kind: state == nil ? .off : .live, deviceState: state ?? [])
        if let parent { manifest.vm = parent.manifest.vm }
        manifest.sequence = Sequence(rawValue: parent.map { $0.manifest.sequence.rawValue + 1 } ?? 7)
        manifest.parent = content.startsAtBase ? .base : Sequence(rawValue: manifest.sequence.rawValue - 1)
        manifest.parentDigest = parent?.manifest.digest.combined ?? Hash128(value: 77)
        // No two checkpoints of a chain are equal.
        manifest.digest.disks[0] = Hash128(value: UInt128(manifest.sequence.rawValue))
        return manifest
    }
}
