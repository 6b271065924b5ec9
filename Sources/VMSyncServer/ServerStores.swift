import NIOPosix
import VMSyncCore
import VMSyncStore

/// Where a server keeps what it knows, and what it holds.
package struct StorePlaces: Sendable {
    package enum Metadata: Sendable, Hashable {
        /// `server.sqlite` in the data folder.
        case folder
        /// A PostgreSQL database, as libpq takes it.
        case postgreSQL(String)
    }

    package enum Blobs: Sendable, Hashable {
        /// `blobs/` in the data folder.
        case folder
        case s3(S3Location)
    }

    package var metadata: Metadata
    package var blobs: Blobs
    /// Of this server alone, as far as it is used.
    package var dataFolder: String

    package init(metadata: Metadata = .folder, blobs: Blobs = .folder, dataFolder: String) {
        self.metadata = metadata
        self.blobs = blobs
        self.dataFolder = dataFolder
    }

    /// From what a person typed.
    /// - Parameters:
    ///   - metadata: `postgres://…`, or nil for the data folder.
    ///   - blobs: `s3://…`, or nil for the data folder.
    /// - Throws: `invalidInput`.
    package init(metadata: String?, blobs: String?, dataFolder: String) throws(VMSyncError) {
        self.dataFolder = dataFolder
        self.metadata =
            try metadata.map { text throws(VMSyncError) in
                guard ["postgres://", "postgresql://"].contains(where: text.hasPrefix) else {
                    throw VMSyncError(
                        .invalidInput, "\"\(text)\" is no place for metadata", hint: "postgres://USER@HOST/DATABASE")
                }
                return .postgreSQL(text)
            } ?? .folder
        self.blobs = try blobs.map { text throws(VMSyncError) in .s3(try S3Location(text)) } ?? .folder
    }

    var usesFolder: Bool { metadata == .folder || blobs == .folder }

    fileprivate var database: String { dataFolder + "/server.sqlite" }

    func openMetadata(clock: (@Sendable () -> Timestamp)?) async throws -> SQLMetadataStore {
        switch metadata {
        case .folder: try await .sqlite(path: database, clock: clock ?? { .now })
        case .postgreSQL(let url): try await .postgreSQL(url: url, clock: clock)
        }
    }

    /// - Throws: `notFound` if the metadata is to be in a folder in which no server ever ran.
    func openExistingMetadata() async throws -> SQLMetadataStore {
        if metadata == .folder {
            let database = database
            guard try await NIOThreadPool.singleton.runIfActive({ SQLMetadataStore.exists(at: database) }) else {
                throw VMSyncError(
                    .notFound, "there is no sync server's data in \(dataFolder)", hint: "vmsync server run --data DIR")
            }
        }
        return try await openMetadata(clock: nil)
    }
}

/// The stores of a server that runs.
struct ServerStores: Sendable {
    let metadata: SQLMetadataStore
    let blobs: any BlobStore
    /// Whether no other server uses the metadata.
    let ownsMetadata: Bool
    /// Whether nobody else puts blobs, and to look at them all is quick.
    let ownsBlobs: Bool
    private let lock: FolderLock?
    private let s3: S3BlobStore?

    /// Calls to an S3 store at once, each with up to a chunk in memory.
    private static let callsMax = 32

    /// - Throws: `wrongState` if another server owns the data folder; what opening the stores throws.
    init(_ places: StorePlaces, credentials: [String: String], clock: (@Sendable () -> Timestamp)?) async throws {
        let folder = places.dataFolder
        lock =
            places.usesFolder ? try await NIOThreadPool.singleton.runIfActive { try FolderLock(folder: folder) } : nil
        metadata = try await places.openMetadata(clock: clock)
        ownsMetadata = places.metadata == .folder
        ownsBlobs = ownsMetadata && places.blobs == .folder
        do {
            switch places.blobs {
            case .folder:
                blobs = try await FileBlobStore(folder: folder)
                s3 = nil
            case .s3(let location):
                let store = try await S3BlobStore(location, credentials: S3Credentials(environment: credentials))
                blobs = RetryingBlobStore(LimitedBlobStore(store, callsMax: Self.callsMax))
                s3 = store
            }
        } catch {
            try? await metadata.close()
            throw error
        }
    }

    func close() async throws {
        try await metadata.close()
        try await s3?.close()
        withExtendedLifetime(lock) {}
    }
}
