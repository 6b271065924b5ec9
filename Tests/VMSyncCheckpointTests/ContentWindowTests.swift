import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// The device state is compressed against the parent's and against what memory carried.
@Suite("Content window")
struct ContentWindowTests {
    /// A device state as its section holds it: a frame of which `prefix` is known.
    private func section(_ state: [UInt8], prefix: [UInt8]) throws -> PackForge.Section {
        var frame: [UInt8] = []
        _ = try state.withUnsafeBytes { state in
            try prefix.withUnsafeBytes { try ZstdCompressor().append(state, prefix: $0, to: &frame) }
        }
        return PackForge.Section(kind: 3, compression: 2, rawLength: UInt64(state.count), stored: frame)
    }

    private func differences(_ page: [UInt8], step: Int) -> [UInt8] {
        page.indices.map { $0 < step ? page[$0] : page[$0] &- page[$0 - step] }
    }

    @Test("is the pages as they are and the bytes of the runs, in order, after the parent's state")
    func byHand() throws {
        var random = SeededRandom(seed: 1)
        let parent = random.bytes(5000)
        let pages = (0..<5).map { _ in random.bytes(Unit.size) }
        let runs = (0..<3).map { _ in random.bytes(300) }
        let sections: [PackForge.Section] = [
            .units([
                .whole(pages[0]), .pixels(differences(pages[1], step: 4)), .zero(), .own((9, runs[0]), (1, runs[1])),
            ]),
            .units([
                .memory(gap: 9, step: 0), .base(step: 0).with((7, runs[2])), .whole(pages[2]), .newMemory(step: -1),
                .samples(differences(pages[4], step: 1)),
            ]),
            .units(kind: 2, [.whole(pages[3])]),
        ]
        let window = pages[0] + pages[1] + runs[0] + runs[1] + runs[2] + pages[2] + pages[4]
        // A state made of all of it: each byte of the prefix that were elsewhere would come out wrong.
        let state = Array((parent + window).reversed()) + window + parent
        let manifest = Manifest.sample(deviceState: state).following()
        let pack = try PackForge(manifest, sections + [try section(state, prefix: parent + window)]).bytes
        #expect(try UnpackedPack(pack, parentState: parent).deviceState == state)
        for wrong in [parent, parent + pages[3] + window, window + parent, parent + Array(window.dropFirst())] {
            let pack = try PackForge(manifest, sections + [try section(state, prefix: wrong)]).bytes
            #expect(refusal(pack, parentState: parent)?.code == .corrupt)
        }
    }

    @Test("ends with the last 16 MiB that memory carried")
    func longByHand() throws {
        var random = SeededRandom(seed: 2)
        let parent = random.bytes(1000)
        // 18 sections of a megabyte, with a run of odd length in each, so that nothing ends where a page does.
        var carried: [UInt8] = []
        var sections: [PackForge.Section] = []
        for number in 0..<18 {
            let pages = (0..<256).map { _ in random.bytes(Unit.size) }
            let run = random.bytes(101)
            sections.append(
                .units([.own(gap: UInt64(number * 257), (7, run))] + pages.map { .whole($0) }))
            carried += run + pages.flatMap { $0 }
        }
        let window = Array(carried.suffix(16 << 20))
        #expect(window.count < carried.count)
        let state = Array(window.prefix(100_000) + window.suffix(100_000) + parent + window[5 << 20..<6 << 20])
        let manifest = Manifest.sample(.sample(memory: 32 << 20), deviceState: state).following()
        let pack = try PackForge(manifest, sections + [try section(state, prefix: parent + window)]).bytes
        #expect(try UnpackedPack(pack, parentState: parent).deviceState == state)
        let longer = try PackForge(manifest, sections + [try section(state, prefix: parent + carried)]).bytes
        #expect(refusal(longer, parentState: parent)?.code == .corrupt)
    }

    @Test("a state that memory carries too costs next to nothing, however it is carried")
    func writer() throws {
        var random = SeededRandom(seed: 3)
        let pages = (0..<40).map { _ in random.bytes(Unit.size) }
        let changed = random.bytes(Unit.size)
        var patched = changed
        patched.replaceSubrange(1000..<3000, with: random.bytes(2000))
        let state = pages.flatMap { $0 } + patched[1000..<3000]
        let pack = try written(.sample(deviceState: state)) { writer in
            try writer.addDeviceState(state)
            for (index, page) in pages.enumerated() {
                try page.withUnsafeBytes { try writer.addMemory(index, $0, parent: nil) }
            }
            try changed.withUnsafeBytes { old in
                try patched.withUnsafeBytes { try writer.addMemory(100, $0, parent: old) }
            }
        }
        // Pages and state are noise: the state isn't there a second time.
        #expect(pack.count < state.count + 4096)
        #expect(try UnpackedPack(pack).deviceState == state)
    }

    @Test("a picture that changed in a state, and that memory carries too, costs next to nothing")
    func runs() throws {
        var random = SeededRandom(seed: 5)
        let pages = (0..<300).map { _ in random.bytes(Unit.size) }
        let picture = pages.flatMap { $0 }
        let parent = random.bytes(3 << 20)
        var state = parent
        state.replaceSubrange(100_000..<100_000 + picture.count, with: picture)
        let pack = try written(.sample(deviceState: state).following()) { writer in
            try parent.withUnsafeBytes { try writer.addDeviceState(state, parent: $0) }
            for (index, page) in pages.enumerated() {
                try page.withUnsafeBytes { try writer.addMemory(index, $0, parent: nil) }
            }
        }
        #expect(pack.count < picture.count + picture.count / 10)
        #expect(try UnpackedPack(pack, parentState: parent).deviceState == state)
    }

    @Test("what more than 16 MiB pushed out is forgotten, by the writer and by the reader")
    func pushedOut() throws {
        var random = SeededRandom(seed: 4)
        let pages = (0..<(17 << 20) / Unit.size).map { _ in random.bytes(Unit.size) }
        for (kept, isKept) in [(pages.suffix(100), true), (pages.prefix(100), false)] {
            let state = kept.flatMap { $0 }
            let pack = try written(.sample(.sample(memory: 32 << 20), deviceState: state)) { writer in
                try writer.addDeviceState(state)
                for (index, page) in pages.enumerated() {
                    try page.withUnsafeBytes { try writer.addMemory(index, $0, parent: nil) }
                }
            }
            #expect((pack.count < pages.count * Unit.size + state.count / 2) == isKept)
            #expect(try UnpackedPack(pack).deviceState == state)
        }
    }
}

extension Manifest {
    /// The same as checkpoint 2 after checkpoint 1.
    func following() -> Manifest {
        var manifest = self
        manifest.parent = sequence
        manifest.sequence = sequence.next
        return manifest
    }
}
