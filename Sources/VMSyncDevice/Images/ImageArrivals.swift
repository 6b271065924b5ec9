#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Synchronization
import VMSyncCore
import VMSyncMachine
import VMSyncSecrets

/// A base image on its way, and how its chunks are had from the server.
struct ImageArrival: Sendable {
    let reference: ImageReference
    let image: ArrivingImage
    /// Of the encrypted chunks, by their numbers.
    let hashes: [Int: ContentHash]
}

/// The images that are on their way, each of them once: several VMs may be based on it.
final class ImageArrivals: Sendable {
    private let all = Mutex<[ContentHash: ImageArrival]>([:])
    private let bootID: String

    init(bootID: String) { self.bootID = bootID }

    func find(_ reference: ImageReference) -> ImageArrival? { all.withLock { $0[reference.manifest] } }

    /// The arrival of the image that belongs at `path`; a new one, if there is none yet. Nil if the image is there meanwhile.
    func add(_ reference: ImageReference, _ manifest: ImageManifest, path: String) throws(VMSyncError) -> ImageArrival?
    {
        let result = all.withLock { all in
            Result { () throws(VMSyncError) -> ImageArrival? in
                if let known = all[reference.manifest] { return known }
                // Under the lock: it gets its name before it is removed here.
                guard access(path, R_OK) != 0 else { return nil }
                let image = try ArrivingImage(
                    path: path, size: manifest.size, chunkLength: ImageManifest.chunkLength,
                    chunks: manifest.chunks.map(\.index), bootID: bootID)
                let hashes = Dictionary(uniqueKeysWithValues: manifest.chunks.map { ($0.index, $0.hash) })
                let arrival = ImageArrival(reference: reference, image: image, hashes: hashes)
                all[reference.manifest] = arrival
                return arrival
            }
        }
        return try result.get()
    }

    func remove(_ reference: ImageReference) { all.withLock { $0[reference.manifest] = nil } }
}
