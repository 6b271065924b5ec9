#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation

/// Small files of records: written whole or not at all, read with a bound.
package enum AtomicFile {
    /// A record is some KB; whatever is larger isn't one of ours.
    private static let bytesMax = 4 << 20

    /// Replaces `path` by `bytes` in one step.
    /// - Parameter durable: whether it must survive a power loss too, not only a killed process; costs two fsyncs.
    package static func write(bytes: [UInt8], to path: String, durable: Bool = false) throws(VMSyncError) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: temporary) }
        defer { close(descriptor) }
        try FileBytes.write(bytes, to: descriptor, path: temporary)
        if durable, fsync(descriptor) != 0 { throw .system("fsync", path: temporary) }
        guard rename(temporary, path) == 0 else { throw .system("rename", path: path) }
        if durable { try syncFolder(of: path) }
    }

    package static func write(_ value: some Encodable, to path: String, durable: Bool = false) throws(VMSyncError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        let data: Data
        do { data = try encoder.encode(value) } catch {
            throw VMSyncError(.bug, "can't write \(path): \(error)")
        }
        try write(bytes: Array(data), to: path, durable: durable)
    }

    /// The record at `path`; nil if there is no such file.
    /// - Throws: `corrupt` if it doesn't parse.
    package static func read<Value: Decodable>(_ type: Value.Type, at path: String) throws(VMSyncError) -> Value? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        guard data.count <= bytesMax else { throw VMSyncError(.corrupt, "\(path) is no record: \(data.count) bytes") }
        do { return try JSONDecoder().decode(type, from: data) } catch {
            throw VMSyncError(.corrupt, "\(path) doesn't parse: \(error)")
        }
    }

    /// The record at `path`; nil also for one that doesn't parse, which is what a power loss may leave of a record that
    /// wasn't written durably. It is removed then, and `torn` hears why.
    package static func readIfWhole<Value: Decodable>(
        _ type: Value.Type, at path: String, torn: (VMSyncError) -> Void
    ) -> Value? {
        do throws(VMSyncError) { return try read(type, at: path) } catch {
            torn(error)
            remove(path)
            return nil
        }
    }

    package static func makeFolder(_ path: String) throws(VMSyncError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw VMSyncError(.io, "can't make the folder \(path): \(error)")
        }
    }

    /// Removes what is at `path`, if anything is.
    package static func remove(_ path: String) {
        // Nothing to do when it isn't there; what can't be removed shows at the next write.
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Makes the name of `path` itself durable: that it is there, or where it was renamed to.
    package static func syncFolder(of path: String) throws(VMSyncError) {
        try sync((path as NSString).deletingLastPathComponent)
    }

    /// Makes the bytes of a file, or the names in a folder, durable.
    package static func sync(_ path: String) throws(VMSyncError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system("fsync", path: path) }
    }
}
