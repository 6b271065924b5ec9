import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// The law: `apply(merge(a…z)) = apply(a); …; apply(z)`.
@Suite("Merging packs")
struct MergeTests {
    /// 20 × 5,000 = 100,000 cases.
    @Test("does what the packs do one after the other, however they are grouped", arguments: 0..<20)
    func law(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var failures = 0
        for _ in 0..<5_000 {
            let start = ModelState.base.after(.random(&random))
            let (first, second, third) = (
                PackContent.random(&random), PackContent.random(&random), PackContent.random(&random)
            )
            let expected = start.after(first).after(second).after(third)
            let left = try first.followed(by: second).followed(by: third)
            let right = try first.followed(by: second.followed(by: third))
            if start.after(try first.followed(by: second)) != start.after(first).after(second) { failures += 1 }
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
            ($0, PackContent.Value(.whole(Page(page))))
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

    @Test("a route becomes one pack, which does what all of them do", arguments: 0..<8)
    func route(seed: UInt64) throws {
        var random = SeededRandom(seed: 2000 + seed)
        for _ in 0..<20 {
            let start = ModelState.base.after(.random(&random))
            let state = random.bytes(random.number(1..<3000))
            var links = [try Link(&random, after: nil, parentState: state)]
            for _ in 0..<random.number(0..<6) {
                let last = try #require(links.last)
                links.append(try Link(&random, after: last, parentState: last.state ?? []))
            }
            let last = try #require(links.last)
            let begins = links.lastIndex { $0.content.startsAtBase }
            let span = try merged(links) { route, sink in
                try route.writeSpan(deviceState: last.state ?? [], over: state, PackWorkspace(), into: sink)
            }
            let read = try UnpackedPack(span, parentState: state)
            let content = try span.withUnsafeBytes { try PackContent(PackReader($0)) }
            #expect(start.after(content) == links.reduce(start) { $0.after($1.content) })
            #expect(read.deviceState == last.state)
            #expect(read.manifest.parent == links[begins ?? 0].manifest.parent)
            #expect(read.manifest.parentDigest == links[begins ?? 0].manifest.parentDigest)
            #expect(read.manifest.digest == last.manifest.digest && read.isWithinBounds)
        }
    }

    @Test(
        "a route from the base becomes the first checkpoint of another VM, with or without its memory", arguments: 0..<8
    )
    func keyframe(seed: UInt64) throws {
        var random = SeededRandom(seed: 3000 + seed)
        for diskOnly in [false, true] {
            var content = PackContent.random(&random)
            content.startsAtBase = true
            let state = random.bytes(random.number(1..<3000))
            var links = [try Link(content, after: nil, state: state, parentState: [])]
            for _ in 0..<random.number(0..<5) {
                let last = try #require(links.last)
                links.append(try Link(&random, after: last, parentState: last.state ?? []))
            }
            let last = try #require(links.last)
            var manifest = last.manifest
            (manifest.vm, manifest.sequence, manifest.parent) = (.random(), Sequence(rawValue: 1), .base)
            let keyframe = try merged(links, followsState: true) { route, sink in
                try route.writeKeyframe(as: manifest, diskOnly: diskOnly, PackWorkspace(), into: sink)
            }
            let read = try UnpackedPack(keyframe, parentState: [])
            let written = try keyframe.withUnsafeBytes { try PackContent(PackReader($0)) }
            let expected = links.reduce(ModelState.base) { $0.after($1.content) }
            let made = ModelState.base.after(written)
            for unit in ModelState.all where unit.space != .memory || !diskOnly {
                #expect(made.content(of: unit) == expected.content(of: unit))
            }
            #expect(read.deviceState == (diskOnly ? nil : last.state))
            #expect(read.manifest.kind == (diskOnly ? .off : last.manifest.kind))
            #expect(read.manifest.digest.disks == last.manifest.digest.disks)
            #expect(read.manifest.vm == manifest.vm && read.manifest.isKeyframe)
        }
    }

    @Test("a route with a gap, and a keyframe of one that doesn't begin at the base, are refused")
    func gaps() throws {
        var random = SeededRandom(seed: 6)
        let first = try Link(&random, after: nil, parentState: [], mayStartAtBase: false)
        let second = try Link(&random, after: first, parentState: first.state ?? [], mayStartAtBase: false)
        let third = try Link(&random, after: second, parentState: second.state ?? [], mayStartAtBase: false)
        #expect(throws: VMSyncError.self) { try merged([first, third]) { _, _ in } }
        #expect(throws: VMSyncError.self) {
            try merged([first, second]) { route, sink in
                _ = try route.writeKeyframe(as: first.manifest, diskOnly: false, PackWorkspace(), into: sink)
            }
        }
    }

    @discardableResult
    private func merged<Answer>(
        _ links: [Link], followsState: Bool = false,
        _ write: (RouteMerge, @escaping PackWriter.Sink) throws -> Answer
    ) throws -> [UInt8] {
        var merged: [UInt8] = []
        let route = RouteMerge()
        for link in links {
            try link.pack.withRawBytes { pack throws(VMSyncError) in
                try route.append(pack, followsState: followsState)
            }
        }
        _ = try write(route) { merged.append(contentsOf: $0) }
        return merged
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
