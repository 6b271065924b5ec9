import Foundation
import NBDTestSupport
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

@Suite("The index of a base image")
struct BaseIndexTests {
    /// Random blocks, with holes and written zeros between them, and a last block that isn't whole.
    private struct Image {
        static let blocks = 1500
        let scratch: Scratch
        let bytes: [UInt8]
        var path: String { scratch.file("base") }

        init(seed: UInt64 = 1) throws {
            var generator = SeededGenerator(seed: seed)
            var bytes = generator.bytes(Self.blocks * Unit.size - 1000)
            let zeros = [UInt8](repeating: 0, count: 64 * Unit.size)
            for start in [0, 500] { bytes.replaceSubrange(start * Unit.size..<(start + 64) * Unit.size, with: zeros) }
            scratch = try Scratch()
            self.bytes = bytes
            try scratch.write(bytes, to: "base")
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: scratch.file("base")))
            // The zeros at 0 become a hole; those at 500 stay written.
            try file.truncate(atOffset: 0)
            try file.seek(toOffset: UInt64(64 * Unit.size))
            try file.write(contentsOf: bytes[(64 * Unit.size)...])
            try file.close()
        }

        func block(_ index: Int) -> [UInt8] {
            let end = min((index + 1) * Unit.size, bytes.count)
            return bytes[index * Unit.size..<end] + [UInt8](repeating: 0, count: (index + 1) * Unit.size - end)
        }

        func open(diskSize: Int? = nil) throws -> BaseIndex {
            try BaseIndex(base: path, diskSize: UInt64(diskSize ?? bytes.count))
        }
    }

    /// How many blocks of `image` are found; each that is found must hold what was looked for.
    private func found(_ index: BaseIndex, of image: Image) throws -> Int {
        var found = 0
        for block in 0..<Image.blocks where !image.block(block).allSatisfy({ $0 == 0 }) {
            guard let place = try index.block(of: image.block(block)) else { continue }
            #expect(image.block(place) == image.block(block))
            found += 1
        }
        return found
    }

    @Test("finds what stands on the image, its last partial block too, and nothing else")
    func finds() throws {
        let image = try Image()
        let index = try image.open()
        #expect(try found(index, of: image) > (Image.blocks - 128) * 19 / 20)
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<1000 { #expect(try index.block(of: generator.bytes(Unit.size)) == nil) }
        for block in [Image.blocks - 1, 64, 499, 564] {
            var other = image.block(block)
            #expect(try index.block(of: other) == block)
            other[Unit.size - 1] ^= 1
            #expect(try index.block(of: other) == nil)
        }
    }

    @Test("proposes no block behind the end of the disk")
    func shorterDisk() throws {
        let image = try Image()
        let index = try image.open(diskSize: 100 * Unit.size + 512)
        #expect(try index.block(of: image.block(100)) == 100)
        for block in 101..<Image.blocks { #expect(try index.block(of: image.block(block)) == nil) }
    }

    @Test("is made once, and again where it is cut off, of another layout, or of another image")
    func madeAgain() throws {
        let image = try Image()
        let file = image.path + ".index"
        _ = try image.open()
        let good = try Data(contentsOf: URL(fileURLWithPath: file))
        _ = try image.open()
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == good)
        var otherLayout = good
        otherLayout[6] ^= 1
        var otherImage = good
        otherImage[8] ^= 1
        let empty = Data()
        for bad in [otherLayout, otherImage, good.prefix(good.count - 8), good.prefix(5), empty] {
            try bad.write(to: URL(fileURLWithPath: file))
            #expect(try found(image.open(), of: image) > 0)
            #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == good)
        }
    }

    @Test("gives no wrong answer, whatever stands in its file")
    func damaged() throws {
        let image = try Image()
        let file = image.path + ".index"
        _ = try image.open()
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
        var generator = SeededGenerator(seed: 3)
        bytes.replaceSubrange(4096..., with: generator.bytes(bytes.count - 4096))
        // Half of the entries keep the tag of their place, and name another block or one that isn't there.
        let good = try Data(contentsOf: URL(fileURLWithPath: file))
        for entry in stride(from: 4096, to: bytes.count, by: 16) {
            bytes.replaceSubrange(entry + 5..<entry + 8, with: good[entry + 5..<entry + 8])
            if entry % 32 == 0 { bytes.replaceSubrange(entry + 1..<entry + 5, with: [bytes[entry + 1] & 3, 0, 0, 0]) }
        }
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        let index = try image.open()
        _ = try found(index, of: image)
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == Data(bytes), "it is taken as it is")
    }

    @Test("that many make at once is whole for each of them")
    func atOnce() async throws {
        let image = try Image()
        let (path, size, block) = (image.path, UInt64(image.bytes.count), image.block(700))
        try await withThrowingTaskGroup(of: Int?.self) { group in
            for _ in 0..<8 {
                group.addTask { try BaseIndex(base: path, diskSize: size).block(of: block) }
            }
            for try await found in group { #expect(found == 700) }
        }
        #expect(try found(image.open(), of: image) > (Image.blocks - 128) * 19 / 20)
    }
}

extension BaseIndex {
    fileprivate func block(of bytes: [UInt8]) throws -> Int? {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Unit.size, alignment: 64)
        defer { scratch.deallocate() }
        return try bytes.withUnsafeBytes { try find(UnitHash.block($0), $0, scratch: scratch) }
    }
}
