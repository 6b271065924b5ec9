import AsyncHTTPClient
import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncServer

/// What a device knows from its event stream.
struct Watcher {
    var iterator: SyncEvents.AsyncIterator
    var vms: [VMID: VMRecord] = [:]
    var devices: [DeviceRecord] = []
    var readies = 0
    var breaks = 0

    init(_ client: SyncClient) { iterator = client.events().makeAsyncIterator() }

    /// Reads until `condition` holds.
    mutating func until(_ condition: (Watcher) -> Bool) async throws {
        while !condition(self) {
            guard let event = try await iterator.next() else { throw VMSyncError(.bug, "the events ended") }
            switch event {
            case .vm(let record): vms[record.id] = record
            case .deleted(let id): vms[id] = nil
            case .devices(let list): devices = list
            case .ready: readies += 1
            case .disconnected: breaks += 1
            }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct EventRoutesTests {
    @Test func aStreamBeginsWithASnapshotAndGoesOnWithEveryChange() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let head = try await it.commit(1, to: vm)
            var watcher = Watcher(it.desktop)
            try await watcher.until { $0.readies == 1 }
            #expect(watcher.vms == [vm: try await it.laptop.vm(vm)])
            #expect(watcher.vms[vm]?.head == head)
            #expect(watcher.devices.map(\.connected) == [false, true])
            try await it.commit(2, to: vm)
            try await watcher.until { $0.vms[vm]?.head?.sequence == Sequence(rawValue: 2) }
            let id = try await it.laptop.requestSwitch(vm, to: it.desktopID).id
            try await watcher.until { $0.vms[vm]?.lastSwitch?.id == id }
            let other = try await it.createVM("play")
            try await watcher.until { $0.vms[other] != nil }
            try await it.laptop.deleteVM(other)
            try await watcher.until { $0.vms[other] == nil }
            #expect(watcher.breaks == 0)
        }
    }

    @Test func aDeviceIsConnectedWhileItListens() async throws {
        try await ServerFixture.with { it in
            var watcher = Watcher(it.laptop)
            try await watcher.until { $0.devices.map(\.connected) == [true, false] }
            it.clock.advance(by: .seconds(10))
            let listening = Task {
                var second = Watcher(it.desktop)
                try await second.until { _ in false }
            }
            try await watcher.until { $0.devices.map(\.connected) == [true, true] }
            #expect(watcher.devices[1].lastSeen == it.clock.now)
            listening.cancel()
            try await watcher.until { $0.devices.map(\.connected) == [true, false] }
            try await it.desktop.setCapabilities(["qemu": "7.2"])
            try await watcher.until { $0.devices.last?.capabilities != nil }
        }
    }

    @Test func aStreamThatBreaksComesBackWithASnapshot() async throws {
        try await withTemporaryFolder { folder in
            let http = SyncClient.makeHTTPClient()
            let first = try await ServerProcess(folder: folder)
            let anybody = try SyncClient(url: first.url, token: nil, httpClient: http)
            let code = try #require(first.invitation)
            let token = try await anybody.join(invitation: code, name: "laptop", platform: "x").token
            let client = try SyncClient(url: first.url, token: token, httpClient: http)
            var watcher = Watcher(client)
            try await watcher.until { $0.readies == 1 }
            try await first.kill()
            try await watcher.until { $0.breaks == 1 }
            let port = try #require(URLComponents(string: first.url)?.port)
            let second = try await ServerProcess(folder: folder, port: port)
            try await watcher.until { $0.readies == 2 }
            let vm = try await client.createVM(.random(), name: "work", definition: Data(), chunks: [])
            try await watcher.until { $0.vms[vm.id] == vm }
            #expect(watcher.breaks == 1, "a break is told once, however long it lasts")
            try await second.kill()
            try await http.shutdown()
        }
    }

    @Test func aTokenThatIsUnknownEndsTheStream() async throws {
        try await ServerFixture.with { it in
            var watcher = Watcher(try SyncClient(url: it.url, token: "nobody", httpClient: it.http))
            let error = await failure { try await watcher.until { _ in false } }
            #expect(error?.code == .unauthorized)
        }
    }

    @Test func aReaderThatStopsReadingIsDroppedAndOthersGoOn() async throws {
        try await ServerFixture.with(heartbeat: .milliseconds(20), silenceMax: .seconds(3)) { it in
            // A snapshot larger than all that the kernel buffers for one that does not read.
            let definition = Data(count: APILimits.definitionBytesMax)
            for number in 0..<90 {
                let id = VMID.random()
                try await persistently {
                    _ = try await it.laptop.createVM(id, name: "vm\(number)", definition: definition, chunks: [])
                }
            }
            let slow = try RawConnection(url: it.url)
            slow.shrinkReceiveBuffer()
            try slow.send("GET /api/v1/events HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer \(it.token)\r\n\r\n")
            try await eventually("it is connected") { try await isConnected(it.laptopID, it) }
            var watcher = Watcher(it.desktop)
            try await watcher.until { $0.readies == 1 }
            try await eventually("it is dropped") { try await !isConnected(it.laptopID, it) }
            #expect(try await isConnected(it.desktopID, it))
            slow.close()
        }
    }

    private func isConnected(_ device: DeviceID, _ it: ServerFixture) async throws -> Bool {
        var connected = false
        try await persistently {
            connected = try await it.laptop.devices().contains { $0.id == device && $0.connected }
        }
        return connected
    }

    /// Repeats what met a connection that the server closed because nothing moved on it, as a device would.
    private func persistently(_ body: () async throws -> Void) async throws {
        while let error = await failure(body) { try #require(error.code == .unavailable) }
    }
}
