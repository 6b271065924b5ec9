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
    var servers: [String] = []
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
            case .servers(let urls): servers = urls
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
            let other = try await it.createVM()
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
            try await it.desktop.setProfile([7])
            try await watcher.until { $0.devices.last?.profile != nil }
            #expect(watcher.servers == [it.laptop.url])
        }
    }

    @Test func aStreamThatBreaksComesBackWithASnapshot() async throws {
        try await withTemporaryFolder { folder in
            try await TestDevice.with { maker in try await brokenStream(folder, maker) }
        }
    }

    private func brokenStream(_ folder: String, _ maker: TestDevice.Maker) async throws {
        let first = try await ServerProcess(folder: folder)
        let laptop = try await maker.make(at: first.url)
        _ = try await laptop.found(try #require(first.invitation))
        let client = laptop.client
        var watcher = Watcher(client)
        try await watcher.until { $0.readies == 1 }
        try await first.kill()
        try await watcher.until { $0.breaks == 1 }
        let port = try ServerAddress(first.url).port
        let second = try await ServerProcess(folder: folder, port: port)
        try await watcher.until { $0.readies == 2 }
        let vm = try await client.createVM(.random(), description: Data(), chunks: [])
        try await watcher.until { $0.vms[vm.id] == vm }
        #expect(watcher.breaks == 1, "a break is told once, however long it lasts")
        try await second.kill()
    }

    @Test func whoIsNoMemberHearsNothing() async throws {
        try await ServerFixture.with { it in
            var watcher = Watcher(try await it.maker.make(at: it.address).client)
            let error = await failure { try await watcher.until { _ in false } }
            #expect(error?.code == .unauthorized)
        }
    }

    @Test func aReaderThatStopsReadingIsDroppedAndOthersGoOn() async throws {
        try await ServerFixture.with(heartbeat: .milliseconds(20), silenceMax: .seconds(3)) { it in
            // A snapshot larger than all that the kernel buffers for one that does not read.
            let description = Data(count: APILimits.descriptionBytesMax)
            for _ in 0..<90 {
                let id = VMID.random()
                try await persistently {
                    _ = try await it.laptop.createVM(id, description: description, chunks: [])
                }
            }
            let slow = try await RawConnection(it.address, it.laptopDevice, reads: false)
            try await slow.send("GET /api/v1/events HTTP/1.1\r\nHost: s\r\n\r\n")
            try await slow.stopReading()
            try await eventually("it is connected") { try await isConnected(it.laptopID, it) }
            // The other one goes on reading, or it were a slow one as well. Where the machine is so busy that it is dropped
            // too, it comes back; the slow one does not.
            let reader = Task { [client = it.desktop] in
                var watcher = Watcher(client)
                try await watcher.until { _ in false }
            }
            try await eventually("the other one is connected") { try await isConnected(it.desktopID, it) }
            try await eventually("it is dropped") { try await !isConnected(it.laptopID, it) }
            try await eventually("the other one goes on") { try await isConnected(it.desktopID, it) }
            reader.cancel()
            try? await slow.close()
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
