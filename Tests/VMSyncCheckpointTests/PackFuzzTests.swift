import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// Mutations with a right checksum: what an attacker with the key, or a bug in a writer, could send.
@Suite("Packs that are changed and signed again")
struct PackFuzzTests {
    private static let state: [UInt8] = [1, 2, 3, 4, 5]

    /// Sections that are stored as they are, so that a changed byte is a changed field.
    private func plain(_ random: inout SeededRandom) throws -> [UInt8] {
        let page = random.bytes(Unit.size)
        let gaps = [random.number(0..<200), random.number(0..<200)]
        let index = gaps[0] + gaps[1] + 2
        return try PackForge(
            .sample(.sample(disks: [1 << 20, 4608]), deviceState: Self.state),
            [
                .units([
                    .zero(gap: UInt64(gaps[0])), .own(gap: UInt64(gaps[1]), (1, [2, 3]), (100, [1, 2, 3])),
                    .memory(step: 300), .memory(step: 0), .disk(step: 9 - index), .base(disk: 1, step: -index - 3),
                ]),
                .units([.zero(gap: 2000), .whole(page), .newMemory(step: -1), .newMemory(step: 0).with((5, [6, 7]))]),
                .units([.pixels(gap: 3000, page)]),
                .units(kind: 2, disk: 1, [.newMemory(step: 2000), .base(step: 0).with((0, [9]))]),
                .deviceState(Self.state),
            ]
        ).bytes
    }

    private func compressed(_ random: inout SeededRandom) throws -> [UInt8] {
        try written(.sample(deviceState: Self.state)) { writer in
            try writer.addDeviceState(Self.state)
            for index in 0..<20 {
                try random.bytes(Unit.size).withUnsafeBytes { try writer.addMemory(index * 7, $0, parent: nil) }
            }
        }
    }

    /// Changes bytes anywhere, the fields of headers and tables more often than the payload of pages.
    private func mutate(_ pack: inout [UInt8], _ random: inout SeededRandom) {
        for _ in 0..<random.number(1..<4) {
            let place = random.oneIn(2) ? random.number(16..<90) : random.number(16..<pack.count - 24)
            switch random.number(0..<5) {
            case 0: pack[place] = [0, 1, 2, 3, 0x7F, 0x80, 0xFF][random.number(0..<7)]
            case 1: pack[place] ^= 1 << UInt8(random.number(0..<8))
            case 2: pack[place] = UInt8(truncatingIfNeeded: random.next())
            case 3: pack.remove(at: place)
            default: pack.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
            }
        }
        pack = PackForge.signed(pack)
    }

    @Test("never crash the reader, never name a unit that isn't there", arguments: 0..<8)
    func mutations(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let packs = [try plain(&random), try compressed(&random)]
        for pack in packs { #expect(refusal(pack) == nil) }
        var refused = 0
        for round in 0..<750 {
            var pack = packs[round % 4 == 0 ? 1 : 0]
            mutate(&pack, &random)
            do {
                let read = try UnpackedPack(pack)
                #expect(read.isWithinBounds, "seed \(seed) round \(round)")
            } catch {
                refused += 1
            }
        }
        #expect(refused > 100 && refused < 750)
    }
}
