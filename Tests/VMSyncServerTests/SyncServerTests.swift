import Foundation
import Synchronization
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncServer

@Suite(.timeLimit(.minutes(1))) struct SyncServerTests {
    @Test func anAddressThatIsNotThisMachinesIsUnavailable() async throws {
        try await withTemporaryFolder { folder in
            // Of a range that is for documents (RFC 5737).
            let configuration = SyncServer.Configuration(address: "192.0.2.1", places: StorePlaces(dataFolder: folder))
            #expect(await failure { try await ServerFixture.running(configuration) { _ in } }?.code == .unavailable)
        }
    }

    @Test func aServerIsTheSameAfterARestartAndSaysWhereItIs() async throws {
        try await withTemporaryFolder { folder in
            var configuration = SyncServer.Configuration(places: StorePlaces(dataFolder: folder))
            configuration.advertised = "https://box.example:7430"
            let ids = Mutex<[DeviceID]>([])
            for _ in 0..<2 {
                try await ServerFixture.running(configuration) { listening in
                    let address = try ServerAddress(listening.listening)
                    #expect(address.url == "https://box.example:7430")
                    ids.withLock { $0.append(address.id) }
                }
            }
            #expect(Set(ids.withLock { $0 }).count == 1)
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
                let port = try ServerAddress(it.address).port
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
