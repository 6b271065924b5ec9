import Foundation
import NBDTestSupport
import VMSyncCore
import VMSyncMachine

/// A disk on a base of random bytes, in a folder of its own.
struct DiskFixture {
    static let boot = "00000000-0000-4000-8000-000000000001"
    static let otherBoot = "00000000-0000-4000-8000-000000000002"
    let scratch: Scratch
    let base: [UInt8]
    let size: Int
    let folder: String

    /// - Parameters:
    ///   - size: Of the disk in bytes.
    ///   - baseSize: Of the base in bytes; beyond it the disk reads zeros.
    init(size: Int, baseSize: Int? = nil, seed: UInt64 = 1) throws {
        var generator = SeededGenerator(seed: seed)
        scratch = try Scratch()
        self.size = size
        base = generator.bytes(baseSize ?? size)
        try scratch.write(base, to: "base")
        folder = scratch.file("disk")
        try OverlayDisk.create(folder: folder, base: scratch.file("base"), size: UInt64(size))
    }

    func open(bootID: String = boot, folder: String? = nil) throws -> OverlayDisk {
        try OverlayDisk.open(
            folder: folder ?? self.folder, base: scratch.file("base"), size: UInt64(size), bootID: bootID)
    }

    /// What a new disk reads as.
    var blank: [UInt8] { Array((base + [UInt8](repeating: 0, count: max(0, size - base.count))).prefix(size)) }

    /// What a power loss at this moment may leave: the files of the disk as they are, copied to another folder.
    func copyFiles(to name: String) throws -> String {
        let copy = scratch.file(name)
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.copyItem(atPath: folder, toPath: copy)
        return copy
    }
}

/// Many bytes, to be compared in an expectation: its report says how many, and spares the reader their difference.
struct Content: Equatable, CustomStringConvertible, CustomReflectable {
    let bytes: [UInt8]
    init(_ bytes: some Swift.Sequence<UInt8>) { self.bytes = Array(bytes) }
    var description: String { "\(bytes.count) bytes beginning with \(bytes.prefix(8))" }
    var customMirror: Mirror { Mirror(self, children: []) }
}

extension OverlayDisk {
    func bytes() throws -> [UInt8] { try bytes(at: 0, Int(size)) }

    func bytes(at offset: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        try bytes.withUnsafeMutableBytes { try load(at: offset, into: $0) }
        return bytes
    }

    func store(_ bytes: [UInt8], at offset: UInt64, fua: Bool = false) throws {
        try bytes.withUnsafeBytes { try store($0, at: offset, fua: fua) }
    }

    func apply(block: UInt64, bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try apply(block: block, content: $0) }
    }

    func block(_ block: UInt64) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: DiskBlock.size)
        try bytes.withUnsafeMutableBytes { try readBlock(block, into: $0) }
        return bytes
    }
}

extension FrozenDisk {
    func bytes(_ block: FrozenBlock) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: DiskBlock.size)
        try bytes.withUnsafeMutableBytes { try read(block, into: $0) }
        return bytes
    }
}

/// The code of the error that `body` throws; nil if it throws none.
func code(of body: () throws -> Void) -> VMSyncError.Code? {
    do { try body() } catch { return (error as? VMSyncError)?.code }
    return nil
}
