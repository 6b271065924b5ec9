import AsyncHTTPClient
import Foundation
import NIOCore
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

@Suite(.timeLimit(.minutes(1))) struct VMRoutesTests {
    @Test func chunksAreMissingUntilTheyAreSent() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let large = randomBytes(APILimits.chunkBytesMax)
            let hashes = [hash(of: large), hash(of: ByteBuffer(string: "small"))]
            #expect(try await it.laptop.missingChunks(hashes) == hashes)
            #expect(try await it.laptop.putChunk(large) == hashes[0])
            #expect(try await it.laptop.putChunk(large) == hashes[0])
            #expect(try await it.laptop.missingChunks(hashes) == [hashes[1]])
            #expect(try await it.desktop.chunk(hashes[0]) == large)
            #expect(await failure { _ = try await it.laptop.chunk(hashes[1]) }?.code == .notFound)
        }
    }

    @Test func aChunkIsItsHashOrNothing() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let name = hash(of: ByteBuffer(string: "right"))
            let wrong = HTTPClientRequest.Body.bytes(ByteBuffer(string: "wrong"))
            #expect(try await it.raw("PUT", "/chunks/\(name)", body: wrong) == RawAnswer(422, "corrupt"))
            #expect(try await it.laptop.missingChunks([name]) == [name])
            #expect(try await it.raw("PUT", "/chunks/..", body: wrong).status == 404)
            #expect(try await it.raw("PUT", "/chunks/\(name.rawValue.uppercased())", body: wrong).status == 404)
            let huge = HTTPClientRequest.Body.bytes(ByteBuffer(repeating: 0, count: APILimits.chunkBytesMax + 1))
            #expect(try await it.raw("PUT", "/chunks/\(name)", body: huge) == RawAnswer(413, "invalid-input"))
            let chunked = HTTPClientRequest.Body.stream([ByteBuffer(string: "right")].async, length: .unknown)
            #expect(try await it.raw("PUT", "/chunks/\(name)", body: chunked) == RawAnswer(411, "invalid-input"))
            #expect(try files(in: it.folder + "/tmp").isEmpty)
        }
    }

    @Test func moreMissingChunksThanOneQuestionTakesAreAskedInPortions() async throws {
        try await ServerFixture.with { it in
            let many = (0..<(APILimits.missingHashesMax + 10)).map { hash(of: ByteBuffer(integer: $0)) }
            #expect(try await it.laptop.missingChunks(many) == many)
            let body = try JSONEncoder().encode(["hashes": many])
            #expect(try await it.raw("POST", "/chunks/missing", body: .bytes(ByteBuffer(bytes: body))).status == 400)
        }
    }

    @Test func aVMIsMadeFromChunksThatAreThere() async throws {
        try await ServerFixture.with { it in
            let chunk = ByteBuffer(string: "base")
            let id = VMID.random()
            let make = { @Sendable in
                try await it.laptop.createVM(id, description: Data([9]), chunks: [hash(of: chunk)])
            }
            #expect(await failure { _ = try await make() }?.code == .wrongState)
            _ = try await it.laptop.putChunk(chunk)
            let vm = try await make()
            #expect(vm.runState == .off && vm.epoch == Epoch(rawValue: 0) && vm.head == nil && vm.holder == nil)
            #expect(vm.description == Data([9]))
            #expect(try await make() == vm)
            #expect(try await it.desktop.vm(id) == vm)
            #expect(try await it.desktop.vms() == [vm])
            #expect(try await it.desktop.chunks(of: id) == [hash(of: chunk)])
        }
    }

    @Test func aVMThatCanNotBeIsRefused() async throws {
        try await ServerFixture.with { it in
            let known = try await it.createVM()
            let other = await failure { _ = try await it.laptop.createVM(known, description: Data([9]), chunks: []) }
            #expect(other?.code == .alreadyExists)
            let long = Data(count: APILimits.descriptionBytesMax + 1)
            let large = await failure { _ = try await it.laptop.createVM(.random(), description: long, chunks: []) }
            #expect(large?.code == .invalidInput)
            #expect(await failure { _ = try await it.laptop.vm(.random()) }?.code == .notFound)
            #expect(await failure { _ = try await it.laptop.chunks(of: .random()) }?.code == .notFound)
        }
    }

    @Test func oneDeviceIsActiveAtATime() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            #expect(try await it.laptop.acquireLease(vm) == Epoch(rawValue: 1))
            let held = await failure { _ = try await it.desktop.acquireLease(vm) }
            #expect(held?.code == .leaseHeld)
            #expect(held?.message.contains("\(it.laptopID) is active") == true)
            #expect(await failure { try await it.desktop.releaseLease(vm, epoch: Epoch(rawValue: 1)) }?.code == .fenced)
            try await it.laptop.releaseLease(vm, epoch: Epoch(rawValue: 1))
            #expect(try await it.desktop.acquireLease(vm) == Epoch(rawValue: 2))
            #expect(try await it.laptop.vm(vm).holder == it.desktopID)
        }
    }

    @Test func aDeviceThatIsLostLosesTheLeaseByForce() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let epoch = try await it.desktop.acquireLease(vm, force: true)
            #expect(epoch == Epoch(rawValue: 1).afterForce)
            #expect(await failure { try await it.commit(1, to: vm) }?.code == .fenced)
            try await it.commit(1, epoch: epoch.rawValue, to: vm, by: it.desktopDevice)
        }
    }

    @Test func aVMIsDeletedWithItsPacksUnlessItRuns() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            try await it.commit(1, to: vm)
            #expect(try files(in: it.folder + "/blobs").count == 1)
            #expect(await failure { try await it.laptop.deleteVM(vm) }?.code == .wrongState)
            try await it.laptop.releaseLease(vm, epoch: Epoch(rawValue: 1))
            try await it.laptop.deleteVM(vm)
            #expect(try files(in: it.folder + "/blobs").isEmpty)
            #expect(await failure { _ = try await it.laptop.vm(vm) }?.code == .notFound)
            #expect(await failure { try await it.laptop.deleteVM(vm) }?.code == .notFound)
        }
    }
}

extension Array where Element: Sendable {
    /// The elements as they would come over time.
    var async: AsyncStream<Element> {
        AsyncStream { continuation in
            for element in self { continuation.yield(element) }
            continuation.finish()
        }
    }
}
