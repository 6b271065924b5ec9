import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// A device state as runs over the parent's (compression 3), seen through packs.
@Suite("Device state as runs")
struct StateRunsTests {
    private func encoded(_ places: [UInt8], _ bytes: [UInt8]) -> [UInt8] {
        withUnsafeBytes(of: UInt32(places.count).littleEndian) { Array($0) } + places + bytes
    }

    /// A pack whose device state is stored as these runs, and makes `state`.
    private func pack(_ runs: [UInt8], length: Int, gives state: [UInt8]) throws -> [UInt8] {
        var manifest = Manifest.sample(deviceState: state).following()
        manifest.deviceStateBytes = length
        let section = PackForge.Section(
            kind: 3, compression: 3, rawLength: UInt64(length), stored: ZstdFrame(runs).bytes)
        return try PackForge(manifest, [section]).bytes
    }

    @Test("by hand: runs overwrite, and what they skip stays")
    func byHand() throws {
        let parent = [UInt8](0..<100)
        var state = parent
        state.replaceSubrange(3..<5, with: [200, 201])
        state[99] = 202
        let runs = encoded([3, 2, 94, 1], [200, 201, 202])
        let changed = try pack(runs, length: 100, gives: state)
        #expect(try UnpackedPack(changed, parentState: parent).deviceState == state)
        let same = try pack(encoded([], []), length: 100, gives: parent)
        #expect(try UnpackedPack(same, parentState: parent).deviceState == parent)
    }

    @Test(
        "runs that leave the state, bytes that are missing or left over, another length",
        arguments: [
            ([UInt8]([100, 1]), [UInt8]([1]), 100), ([99, 2], [1, 2], 100), ([0, 0], [], 100), ([0, 2], [1], 100),
            ([0, 1], [1, 2], 100), ([0], [1], 100), ([0, 1], [1], 99), ([0, 1], [1], 101),
            ([255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1], [1], 100),
        ])
    func lies(places: [UInt8], bytes: [UInt8], length: Int) throws {
        let pack = try pack(encoded(places, bytes), length: length, gives: [UInt8](0..<100))
        #expect(refusal(pack, parentState: [UInt8](0..<100))?.code == .corrupt)
    }

    @Test("a column that is longer than the frame, and a frame that is too short for any")
    func columns() throws {
        let parent = [UInt8](0..<100)
        for runs: [UInt8] in [[], [0, 0, 0], [1, 0, 0, 0], [255, 255, 255, 255, 0, 1, 1]] {
            let pack = try pack(runs, length: 100, gives: parent)
            #expect(refusal(pack, parentState: parent)?.code == .corrupt)
        }
    }

    @Test("what a writer stores is read again, and an unchanged state costs next to nothing")
    func roundTrip() throws {
        var random = SeededRandom(seed: 3)
        let parent = random.bytes(300_000)
        for changes in [0, 1, 10, 1000, 100_000] {
            var state = parent
            for _ in 0..<changes { state[Int(random.next() % UInt64(state.count))] &+= 1 }
            var pack: [UInt8] = []
            let writer = try PackWriter { bytes throws(VMSyncError) in
                pack.append(contentsOf: bytes)
            }
            try parent.withUnsafeBytes { try writer.addDeviceState(state, parent: $0) }
            _ = try writer.finish(Manifest.sample(deviceState: state).following())
            #expect(try UnpackedPack(pack, parentState: parent).deviceState == state)
            #expect(writer.tally.deviceStateStored <= 100 + changes * 8)
        }
    }
}
