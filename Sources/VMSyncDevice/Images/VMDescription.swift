import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncSecrets

/// All that a device must know of a VM to follow it: its name, the machine, and where its base images are. The server stores
/// it encrypted.
package struct VMDescription: Sendable, Codable, Hashable {
    /// A device that doesn't know the format must not guess.
    package static let format = 1

    package var format: Int
    package var name: String
    package var machine: MachineDefinition
    /// One per disk of the machine.
    package var disks: [ImageReference]
    package var kernel: ImageReference?
    package var initrd: ImageReference?

    package init(
        name: String, machine: MachineDefinition, disks: [ImageReference], kernel: ImageReference?,
        initrd: ImageReference?
    ) {
        format = Self.format
        self.name = name
        self.machine = machine
        self.disks = disks
        self.kernel = kernel
        self.initrd = initrd
    }

    /// Reads and checks what the server holds.
    package init(_ data: Data) throws(VMSyncError) {
        do { self = try JSONDecoder().decode(VMDescription.self, from: data) } catch {
            throw VMSyncError(.corrupt, "the VM's description doesn't parse: \(error)")
        }
        guard format == Self.format else {
            throw VMSyncError(
                .incompatible, "the VM's description has format \(format), this vmsync knows \(Self.format)",
                hint: "install the same vmsync on all devices")
        }
        _ = try Name.checked(name, of: "VM")
        try machine.validate()
        guard disks.count == machine.disks.count, (kernel == nil) == (machine.boot == nil),
            (initrd != nil) == (machine.boot?.hasInitrd ?? false)
        else { throw VMSyncError(.corrupt, "the VM's description contradicts itself") }
    }

    package var images: [ImageReference] { disks + [kernel, initrd].compactMap { $0 } }
}

/// A base image by its content: the hash of its encrypted manifest, and the key of it.
package struct ImageReference: Sendable, Codable, Hashable {
    /// The chunk that holds the `ImageManifest`.
    package var manifest: ContentHash
    /// Bytes of the image.
    package var size: UInt64
    /// The image's own: who has it can read this image, and nothing else.
    package var key: SubjectKey
}

/// Which chunks make an image; itself a chunk. Ranges that no chunk covers are zeros.
package struct ImageManifest: Sendable, Codable {
    /// Raw bytes per chunk. 1 MiB: a changed image shares most chunks with its predecessor, and a transfer that broke
    /// off repeats little.
    package static let chunkLength = 1 << 20
    /// A manifest must fit into one chunk of the server: with 70 bytes an entry that is 57 GB that aren't zero.
    package static let chunksMax = 57_000

    package struct Chunk: Sendable, Codable {
        /// At `index` × `chunkLength`.
        package var index: Int
        /// SHA-256 of the encrypted zstd frame that the server holds.
        package var hash: ContentHash

        enum CodingKeys: String, CodingKey {
            case index = "i"
            case hash = "h"
        }
    }

    package var size: UInt64
    package var chunks: [Chunk]

    package init(size: UInt64, chunks: [Chunk]) {
        self.size = size
        self.chunks = chunks
    }

    package init(_ data: Data, reference: ImageReference) throws(VMSyncError) {
        do { self = try JSONDecoder().decode(ImageManifest.self, from: data) } catch {
            throw VMSyncError(.corrupt, "an image manifest doesn't parse: \(error)")
        }
        let count = (reference.size + UInt64(Self.chunkLength) - 1) / UInt64(Self.chunkLength)
        guard size == reference.size, chunks.count <= Self.chunksMax,
            chunks.allSatisfy({ $0.index >= 0 && UInt64($0.index) < count }),
            Set(chunks.map(\.index)).count == chunks.count
        else { throw VMSyncError(.corrupt, "an image manifest contradicts its image") }
    }
}
