import Foundation
import Testing
import VMSyncCore
import VMSyncServer

@Suite(.timeLimit(.minutes(1))) struct SyncServerTests {
    @Test(arguments: ["0.0.0.0", "192.168.1.1", "::", "example.org", "127.evil.example", ""])
    func onlyLoopbackIsListenedOn(address: String) async throws {
        try await withTemporaryFolder { folder in
            let configuration = SyncServer.Configuration(address: address, places: StorePlaces(dataFolder: folder))
            let error = await failure { try await ServerFixture.running(configuration) { _ in } }
            #expect(error?.code == .invalidInput && error?.message.contains("TLS") == true)
        }
    }

    @Test func aFolderHasOneServer() async throws {
        try await ServerFixture.with { it in
            let second = SyncServer.Configuration(places: StorePlaces(dataFolder: it.folder))
            #expect(await failure { try await ServerFixture.running(second) { _ in } }?.code == .wrongState)
        }
    }

    @Test func aTakenPortIsUnavailable() async throws {
        try await ServerFixture.with { it in
            try await withTemporaryFolder { folder in
                let port = try #require(URLComponents(string: it.url)?.port)
                let second = SyncServer.Configuration(port: port, places: StorePlaces(dataFolder: folder))
                #expect(await failure { try await ServerFixture.running(second) { _ in } }?.code == .unavailable)
            }
        }
    }

    @Test func aStartRemovesWhatNoCheckpointNames() async throws {
        try await withTemporaryFolder { folder in
            let orphan = Identifier.random()
            let group = folder + "/blobs/\(orphan.prefix(2))"
            try FileManager.default.createDirectory(atPath: group, withIntermediateDirectories: true)
            try Data([1]).write(to: URL(fileURLWithPath: "\(group)/\(orphan)"))
            try FileManager.default.createDirectory(atPath: folder + "/tmp", withIntermediateDirectories: true)
            try Data([1]).write(to: URL(fileURLWithPath: folder + "/tmp/half"))
            try await ServerFixture.running(SyncServer.Configuration(places: StorePlaces(dataFolder: folder))) {
                _ async throws -> Void in
                #expect(try files(in: folder + "/blobs").isEmpty && files(in: folder + "/tmp").isEmpty)
            }
        }
    }
}
