import Crypto
import VMSyncCore

extension ContentHash {
    /// The SHA-256 of the file at `path`. Blocking: for a thread of one's own.
    init(ofFile path: String) throws(VMSyncError) {
        let file = try MappedFile(path: path)
        var hasher = SHA256()
        hasher.update(bufferPointer: file.bytes)
        self.init(digest: hasher.finalize())
    }
}
