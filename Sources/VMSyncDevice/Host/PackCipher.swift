#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Crypto
import VMSyncCore
import VMSyncSecrets

/// Packs from one file to another, encrypted and back. Blocking: for a thread of one's own.
enum PackCipher {
    /// What a file is as it was written.
    struct Written: Hashable {
        let size: UInt64
        let checksum: ContentHash
    }

    /// Encrypts `plain` into the file `path`, replacing it.
    static func encrypt(
        _ plain: String, into path: String, _ key: SubjectKey, _ purpose: StreamPurpose
    ) throws(VMSyncError) -> Written {
        try writing(path) { descriptor throws(VMSyncError) in
            try MappedFile.with(plain) { bytes throws(VMSyncError) in
                var encryptor = StreamEncryptor(key, purpose, salt: StreamEncryptor.randomSalt())
                var (hasher, size) = (SHA256(), UInt64(0))
                var output = encryptor.header
                output.reserveCapacity(output.count + StreamDecryptor.storedSegmentBytes)
                var start = 0
                repeat {
                    let end = min(start + StreamEncryptor.segmentBytes, bytes.count)
                    try encryptor.append(
                        UnsafeRawBufferPointer(rebasing: bytes[start..<end]), isLast: end == bytes.count, to: &output)
                    hasher.update(data: output)
                    size += UInt64(output.count)
                    try FileBytes.write(output, to: descriptor, path: path)
                    output.removeAll(keepingCapacity: true)
                    start = end
                } while start < bytes.count
                return Written(size: size, checksum: ContentHash(digest: hasher.finalize()))
            }
        }
    }

    /// Bytes in the file; nil if there is none.
    static func size(of path: String) -> UInt64? {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_size) : nil
    }

    /// Of the key that `encrypted` needs.
    static func generation(of encrypted: String) throws(VMSyncError) -> UInt32 {
        try MappedFile.with(encrypted) { bytes throws(VMSyncError) in try StreamDecryptor.generation(of: bytes) }
    }

    /// Decrypts `encrypted` into the file `path`, replacing it. After an error it holds a part, which is good.
    static func decrypt(
        _ encrypted: String, into path: String, _ key: SubjectKey, _ purpose: StreamPurpose
    ) throws(VMSyncError) {
        try writing(path) { descriptor throws(VMSyncError) in
            try MappedFile.with(encrypted) { bytes throws(VMSyncError) in
                var decryptor = try StreamDecryptor(bytes, key, purpose)
                var start = StreamDecryptor.headerBytes
                repeat {
                    let end = min(start + StreamDecryptor.storedSegmentBytes, bytes.count)
                    let segment = try decryptor.open(
                        UnsafeRawBufferPointer(rebasing: bytes[start..<end]), isLast: end == bytes.count)
                    try FileBytes.write([UInt8](segment), to: descriptor, path: path)
                    start = end
                } while start < bytes.count
            }
        }
    }

    private static func writing<Result>(
        _ path: String, _ body: (Int32) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        return try body(descriptor)
    }
}
