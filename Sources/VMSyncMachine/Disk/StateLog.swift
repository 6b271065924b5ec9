import CXXHash
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// `map.log`: the durable history of block states, from which the map is made again after a power loss.
///
/// Layout, little endian. Header: magic, version, size of the disk, random id, checksum; 8 bytes each. Then records, one
/// or more per flush: number of runs, then per run `state << 62 | first block` and the number of blocks, then a checksum;
/// 8 bytes each. The checksum (XXH64) is seeded with the id and the record's offset, so that old bytes which a torn write
/// uncovers never pass. A record that doesn't match ends the log: what follows was never acknowledged.
struct StateLog {
    private static let magic: UInt64 = 0x676f_6c70_616d_7376
    private static let version: UInt64 = 1
    private static let headerBytes = 40
    /// Runs in one record. Bounds what is read into memory at once to 1 MiB, whatever a damaged count says.
    private static let runsPerRecordMax = 65536

    private let path: String
    private let folder: String
    private let diskSize: UInt64
    private var file: DiskFile
    private var id: UInt64
    /// The end of the last whole record.
    private(set) var bytes: UInt64

    /// Makes a new log of `runs` in the folder, in place of one that may be there: durably, and all or nothing.
    static func create(folder: String, diskSize: UInt64, runs: [StateRun]) throws(VMSyncError) -> StateLog {
        let path = "\(folder)/map.log"
        let fresh = "\(path).new"
        var log = StateLog(
            path: path, folder: folder, diskSize: diskSize,
            file: try DiskFile(fresh, O_RDWR | O_CREAT | O_TRUNC), id: .random(in: .min ... .max))
        try log.writeHeader()
        try log.append(runs)
        guard rename(fresh, path) == 0 else { throw DiskFile.failure("rename", fresh) }
        try DiskFile.syncFolder(folder)
        return log
    }

    /// Opens the log of a disk and hands over its runs, oldest first. A torn end is cut off.
    /// - Throws: `corrupt` if it is the log of something else.
    static func open(
        folder: String, diskSize: UInt64, each: (StateRun) -> Void
    ) throws(VMSyncError) -> StateLog {
        let path = "\(folder)/map.log"
        var log = StateLog(
            path: path, folder: folder, diskSize: diskSize, file: try DiskFile(path, O_RDWR), id: 0)
        try log.readHeader()
        let length = try log.file.length()
        while let runs = try log.readRecord(fileLength: length) { runs.forEach(each) }
        if length > log.bytes { try log.file.truncate(to: log.bytes) }
        return log
    }

    private init(path: String, folder: String, diskSize: UInt64, file: DiskFile, id: UInt64) {
        self.path = path
        self.folder = folder
        self.diskSize = diskSize
        self.file = file
        self.id = id
        self.bytes = UInt64(Self.headerBytes)
    }

    /// Appends `runs`, and returns when they are on permanent storage. After an error the log is as before.
    mutating func append(_ runs: [StateRun]) throws(VMSyncError) {
        var end = bytes
        var rest = runs[...]
        while !rest.isEmpty {
            let record = encode(rest.prefix(Self.runsPerRecordMax), at: end)
            try write(record, at: end)
            end += UInt64(record.count * 8)
            rest = rest.dropFirst(Self.runsPerRecordMax)
        }
        try file.sync()
        bytes = end
    }

    /// The same log with `runs` as its whole content.
    mutating func replace(with runs: [StateRun]) throws(VMSyncError) {
        self = try Self.create(folder: folder, diskSize: diskSize, runs: runs)
    }
}

// MARK: - Bytes

extension StateLog {
    private func writeHeader() throws(VMSyncError) {
        let words = [Self.magic, Self.version, diskSize, id]
        try write((words + [checksum(words, seed: 0)]).map(\.littleEndian), at: 0)
    }

    private mutating func readHeader() throws(VMSyncError) {
        let words = try read(count: 5, at: 0)
        guard words[0] == Self.magic, words[4] == checksum(Array(words[..<4]), seed: 0) else {
            throw VMSyncError(.corrupt, "\(path) isn't the log of a disk")
        }
        guard words[1] == Self.version else {
            throw VMSyncError(.incompatible, "\(path) has version \(words[1]); this vmsync reads \(Self.version)")
        }
        guard words[2] == diskSize else {
            throw VMSyncError(.invalidInput, "\(path) belongs to a disk of \(words[2]) bytes, not \(diskSize)")
        }
        id = words[3]
    }

    private func encode(_ runs: ArraySlice<StateRun>, at offset: UInt64) -> [UInt64] {
        var words = [UInt64(runs.count)]
        words.reserveCapacity(2 + 2 * runs.count)
        for run in runs {
            words.append(BlockEntry(run.state, number: run.first).rawValue)
            words.append(run.count)
        }
        words.append(checksum(words, seed: id &+ offset))
        return words.map(\.littleEndian)
    }

    /// The next record; nil at the end of what is whole.
    private mutating func readRecord(fileLength: UInt64) throws(VMSyncError) -> [StateRun]? {
        guard bytes + 16 <= fileLength else { return nil }
        let count = try read(count: 1, at: bytes)[0]
        guard count > 0, count <= UInt64(Self.runsPerRecordMax), bytes + 16 + 16 * count <= fileLength else {
            return nil
        }
        let words = try read(count: 2 + 2 * Int(count), at: bytes)
        guard words.last == checksum(Array(words.dropLast()), seed: id &+ bytes) else { return nil }
        var runs: [StateRun] = []
        for index in stride(from: 1, to: words.count - 1, by: 2) {
            runs.append(try run(words[index], words[index + 1]))
        }
        bytes += 16 + 16 * count
        return runs
    }

    /// A run that was read, if it lies within the disk.
    private func run(_ first: UInt64, _ count: UInt64) throws(VMSyncError) -> StateRun {
        let entry = BlockEntry(rawValue: first)
        let blocks = (diskSize + UInt64(DiskBlock.size) - 1) / UInt64(DiskBlock.size)
        guard entry.isValid, entry.number < blocks, count <= blocks - entry.number else {
            throw VMSyncError(.corrupt, "\(path) names blocks that the disk doesn't have")
        }
        return StateRun(first: entry.number, count: count, state: entry.state)
    }

    private func write(_ words: [UInt64], at offset: UInt64) throws(VMSyncError) {
        // The closure can't throw a typed error through the standard library's rethrows.
        let result = words.withUnsafeBytes { bytes in
            Result { () throws(VMSyncError) in try file.write(bytes, at: offset) }
        }
        try result.get()
    }

    private func read(count: Int, at offset: UInt64) throws(VMSyncError) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: count)
        let result = words.withUnsafeMutableBytes { bytes in
            Result { () throws(VMSyncError) in try file.read(into: bytes, at: offset) }
        }
        try result.get()
        return words.map { UInt64(littleEndian: $0) }
    }

    private func checksum(_ words: [UInt64], seed: UInt64) -> UInt64 {
        words.map(\.littleEndian).withUnsafeBytes { XXH64($0.baseAddress, $0.count, seed) }
    }
}
