import Foundation
import NIOCore
import Testing
import VMSyncCore
import VMSyncStore

@Suite struct FileBlobStoreTests {
    @Test(arguments: BlobStoreContract.clauses)
    func keepsTheContract(_ clause: Clause<any BlobStore>) async throws {
        try await withTemporaryFolder { folder in
            try await clause.check(FileBlobStore(folder: folder))
            // However it went, nothing half done stays behind.
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/tmp").isEmpty)
        }
    }

    @Test func removesWhatAnEarlierProcessLeftHalfDone() async throws {
        try await withTemporaryFolder { folder in
            try FileManager.default.createDirectory(atPath: folder + "/tmp", withIntermediateDirectories: true)
            try Data([1, 2, 3]).write(to: URL(fileURLWithPath: folder + "/tmp/half"))
            _ = try await FileBlobStore(folder: folder)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/tmp").isEmpty)
        }
    }

    @Test func blobsAreThereForTheNextProcess() async throws {
        try await withTemporaryFolder { folder in
            let id = try await BlobStoreContract.put([1, 2, 3], in: FileBlobStore(folder: folder))
            #expect(try await FileBlobStore(folder: folder).read(id, at: 0, count: 9) == ByteBuffer(bytes: [1, 2, 3]))
        }
    }

    @Test func onlyTheOwnerCanReadAPack() async throws {
        try await withTemporaryFolder { folder in
            let id = try await BlobStoreContract.put([1], in: FileBlobStore(folder: folder))
            let attributes = try FileManager.default.attributesOfItem(
                atPath: "\(folder)/blobs/\(id.rawValue.prefix(2))/\(id)")
            #expect(attributes[.posixPermissions] as? Int == 0o600)
        }
    }

    @Test func aFolderHasOneOwnerAtATime() async throws {
        try await withTemporaryFolder { folder in
            var first: FolderLock? = try FolderLock(folder: folder)
            #expect(await code { _ = try FolderLock(folder: folder) } == .wrongState)
            withExtendedLifetime(first) {}
            first = nil
            _ = try FolderLock(folder: folder)
        }
    }
}
