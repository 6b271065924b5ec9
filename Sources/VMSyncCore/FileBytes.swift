#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// All the bytes that are asked for, however many calls the kernel takes for them. Blocking.
package enum FileBytes {
    /// Writes all of `bytes` at the descriptor's position.
    package static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws(VMSyncError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .system("write", path: path) }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    package static func write(_ bytes: [UInt8], to descriptor: Int32, path: String) throws(VMSyncError) {
        try bytes.withRawBytes { buffer throws(VMSyncError) in try write(buffer, to: descriptor, path: path) }
    }

    /// Fills `target` with what is at `offset`.
    /// - Returns: how many bytes there were; fewer than asked for only at the end of the file.
    package static func read(
        into target: UnsafeMutableRawBufferPointer, from descriptor: Int32, at offset: UInt64, path: String
    ) throws(VMSyncError) -> Int {
        var done = 0
        while done < target.count {
            let room = UnsafeMutableRawBufferPointer(rebasing: target[done...])
            let count = pread(descriptor, room.baseAddress, room.count, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .system("read", path: path) }
            if count == 0 { break }
            done += count
        }
        return done
    }
}
