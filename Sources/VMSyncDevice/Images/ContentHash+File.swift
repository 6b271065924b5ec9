import Crypto
import VMSyncCore

extension ContentHash {
    /// The SHA-256 of the file at `path`. Blocking: for a thread of one's own.
    init(ofFile path: String) throws(VMSyncError) {
        self.init(
            digest: try MappedFile.with(path) { bytes throws(VMSyncError) in
                var hasher = SHA256()
                hasher.update(bufferPointer: bytes)
                return hasher.finalize()
            })
    }
}
