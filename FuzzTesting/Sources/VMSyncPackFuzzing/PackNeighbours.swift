import VMSyncCheckpoint
import VMSyncCore

/// The packs that the fuzzed one is merged with: one that it follows, and one for each variant that follows it.
struct PackNeighbours {
    let earlier: [UInt8]
    let stateAfterEarlier: ModelState
    private let later: [PackRecipe.Variant: [UInt8]]

    init() throws(VMSyncError) {
        let live = PackRecipe.Variant(isOff: false, isKeyframe: false)
        earlier = try Self.pack(
            PackRecipe.manifest(live, sequence: 7, state: PackRecipe.parentState), Self.earlierContent,
            state: PackRecipe.parentState, parent: PackRecipe.firstState)
        stateAfterEarlier = try ModelState.start.after(earlier)
        var packs: [PackRecipe.Variant: [UInt8]] = [:]
        for variant in PackRecipe.Variant.all {
            let manifest = PackRecipe.manifest(
                live, sequence: 9, state: PackRecipe.firstState,
                parentDigest: PackRecipe.manifest(variant).digest.combined)
            packs[variant] = try Self.pack(
                manifest, Self.laterContent, state: PackRecipe.firstState,
                parent: variant.isOff ? [] : PackRecipe.state)
        }
        later = packs
    }

    /// The pack that follows one with `manifest`; nil if the recipe didn't make that.
    func later(than manifest: Manifest) -> [UInt8]? {
        let variant = PackRecipe.Variant(isOff: manifest.kind == .off, isKeyframe: manifest.isKeyframe)
        return manifest == PackRecipe.manifest(variant) ? later[variant] : nil
    }

    private static func pack(
        _ manifest: Manifest, _ content: PackContent, state: [UInt8], parent: [UInt8]
    ) throws(VMSyncError) -> [UInt8] {
        var pack: [UInt8] = []
        let writer = try PackWriter(clearsMemory: content.clearsMemory) { pack.append(contentsOf: $0) }
        try parent.withRawBytes { parent throws(VMSyncError) in try writer.addDeviceState(state, parent: parent) }
        try content.write(to: writer)
        _ = try writer.finish(manifest)
        return pack
    }
}

// MARK: contents with every kind of value, of the same few units that a fuzzer comes to first

extension PackNeighbours {
    private static func page(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: Unit.size) }

    private static func patch(_ range: Range<Int>) -> Patch {
        Patch(page(0xA5), where: (0..<Unit.size).map(range.contains))
    }

    private static var earlierContent: PackContent {
        PackContent(
            startsAtBase: false, clearsMemory: false,
            values: [
                UnitID(.memory, 0): .init(.whole(Page(page(1)))), UnitID(.memory, 1): .init(.zero),
                UnitID(.memory, 2): .init(.parent(UnitID(.memory, 2)), patch(10..<20)),
                UnitID(.memory, 3): .init(.parent(UnitID(.memory, 0))),
                UnitID(.memory, 4): .init(.parent(UnitID(.disk(0), 1)), patch(0..<1)),
                UnitID(.memory, 5): .init(.base(disk: 1, block: 1)),
                UnitID(.disk(0), 0): .init(.whole(Page(page(1)))),
                UnitID(.disk(0), 1): .init(.parent(UnitID(.disk(0), 1))),
                UnitID(.disk(0), 2): .init(.parent(UnitID(.memory, 3)), patch(4000..<4096)),
                UnitID(.disk(1), 0): .init(.base(disk: 0, block: 2), patch(5..<7)), UnitID(.disk(1), 1): .init(.zero),
            ])
    }

    private static var laterContent: PackContent {
        PackContent(
            startsAtBase: false, clearsMemory: false,
            values: [
                UnitID(.memory, 0): .init(.parent(UnitID(.memory, 1))),
                UnitID(.memory, 1): .init(.parent(UnitID(.memory, 0)), patch(15..<30)),
                UnitID(.memory, 2): .init(.parent(UnitID(.memory, 2)), patch(15..<30)),
                UnitID(.memory, 6): .init(.parent(UnitID(.disk(0), 0))),
                UnitID(.disk(0), 0): .init(.parent(UnitID(.memory, 2)), patch(0..<4096)),
                UnitID(.disk(0), 3): .init(.parent(UnitID(.disk(1), 0)), patch(6..<9)),
                UnitID(.disk(1), 1): .init(.parent(UnitID(.disk(1), 1))),
            ])
    }
}
