import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// The new hashes of a sealed checkpoint in a file: for memory and then each disk a count, then as many times an index
/// (8 bytes) and a hash (16), little-endian. Only ever read by a daemon on the device that wrote it.
enum HashChangesFile {
    private static let entryLength = 24

    static func write(_ changes: [HashChanges], to path: String) throws(VMSyncError) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(changes.reduce(0) { $0 + 8 + $1.indices.count * entryLength })
        for change in changes {
            append(UInt64(change.indices.count), to: &bytes)
            for (index, hash) in zip(change.indices, change.hashes) {
                append(UInt64(index), to: &bytes)
                append(hash.value, to: &bytes)
            }
        }
        try AtomicFile.write(bytes: bytes, to: path)
    }

    /// Puts the hashes of the file at `path` into `tables`; putting them twice is the same as once.
    /// - Parameter noting: is told each of them: the number of the table, the index, the hash.
    static func put(
        _ path: String, into tables: [UnitHashTable], noting: (Int, Int, Hash128) -> Void
    ) throws(VMSyncError) {
        try MappedFile.with(path) { bytes throws(VMSyncError) in
            var offset = 0
            for (number, table) in tables.enumerated() {
                try put(bytes, at: &offset, into: table) { noting(number, $0, $1) }
            }
        }
    }

    private static func put(
        _ bytes: UnsafeRawBufferPointer, at offset: inout Int, into table: UnitHashTable,
        _ noting: (Int, Hash128) -> Void
    ) throws(VMSyncError) {
        let count = try read(UInt64.self, bytes, at: &offset)
        guard count <= UInt64(table.count) else { throw VMSyncError(.corrupt, "a file of hashes has too many") }
        for _ in 0..<count {
            let index = try read(UInt64.self, bytes, at: &offset)
            let hash = try read(UInt128.self, bytes, at: &offset)
            guard index < UInt64(table.count) else { throw VMSyncError(.corrupt, "a file of hashes names no unit") }
            table.set(Int(index), Hash128(value: hash))
            noting(Int(index), Hash128(value: hash))
        }
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private static func read<Value: FixedWidthInteger>(
        _ type: Value.Type, _ bytes: UnsafeRawBufferPointer, at offset: inout Int
    ) throws(VMSyncError) -> Value {
        let size = MemoryLayout<Value>.size
        guard offset + size <= bytes.count else { throw VMSyncError(.corrupt, "a file of hashes is cut off") }
        defer { offset += size }
        return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
    }
}
