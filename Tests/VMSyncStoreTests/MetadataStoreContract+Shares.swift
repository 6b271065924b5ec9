import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

extension ClockedStore {
    fileprivate func terms(uses: Int? = nil, for seconds: Int = 60) -> ShareTerms {
        ShareTerms(id: .random(), start: clock.now, expires: clock.now + .seconds(seconds), uses: uses, allow: .run)
    }

    fileprivate func share(
        _ terms: ShareTerms, of vm: VMID, by device: DeviceID, _ content: ShareContent, openMax: Int = 9
    ) async throws -> ShareRecord {
        try await store.addShare(
            NewShare(terms: terms, tag: "tag", vm: vm, device: device, content: content, openMax: openMax),
            of: Self.account)
    }

    fileprivate func content() async throws -> (ShareContent, [StoredChunk]) {
        let chunks = [
            try await addChunk("a", size: 3), try await addChunk("b", size: 4), try await addChunk("image", size: 9),
        ]
        let content = ShareContent(
            description: [1, 0, 255], size: 7, checksum: Self.hash("pack"), chunks: [chunks[1].hash, chunks[0].hash],
            images: [chunks[2].hash])
        return (content, chunks)
    }
}

extension MetadataStoreContract {
    static let shares: [Clause<ClockedStore>] = [
        Clause("a share is kept, told to its account, and given to who opens it") { it async throws -> Void in
            let vm = try await it.create("work")
            let (laptop, guest) = (try await it.join("laptop"), DeviceID.random())
            let (content, _) = try await it.content()
            let terms = it.terms(uses: 1)
            let record = try await it.share(terms, of: vm, by: laptop, content)
            #expect(record == ShareRecord(share: terms, vm: vm, device: laptop, created: it.clock.now))
            #expect(try await it.share(terms, of: vm, by: laptop, content) == record, "again")
            var other = terms
            other.uses = 2
            let taken = other
            #expect(await code { _ = try await it.share(taken, of: vm, by: laptop, content) } == .alreadyExists)
            #expect(try await it.store.shares(of: ClockedStore.account) == [record])
            #expect(try await it.store.shares(of: ClockedStore.hash("other")).isEmpty)
            for _ in 1...2 {
                #expect(try await it.store.openShare(terms, tag: "tag", by: guest) == content)
                #expect(try await it.store.shares(of: ClockedStore.account).map(\.used) == [1])
            }
            #expect(await code { _ = try await it.store.openShare(terms, tag: "tag", by: laptop) } == .unauthorized)
            #expect(await code { _ = try await it.store.openShare(terms, tag: "x", by: guest) } == .invalidInput)
            let unknown = it.terms()
            #expect(await code { _ = try await it.store.openShare(unknown, tag: "tag", by: guest) } == .notFound)
        },
        Clause("a share that can't be is refused") { it async throws -> Void in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            let (content, _) = try await it.content()
            #expect(
                await code { _ = try await it.share(it.terms(for: 0), of: vm, by: laptop, content) } == .invalidInput)
            let unknown = ShareContent(
                description: [], size: 7, checksum: content.checksum, chunks: [ClockedStore.hash("unknown")], images: []
            )
            #expect(await code { _ = try await it.share(it.terms(), of: vm, by: laptop, unknown) } == .wrongState)
            let short = ShareContent(
                description: [], size: 8, checksum: content.checksum, chunks: content.chunks, images: [])
            #expect(await code { _ = try await it.share(it.terms(), of: vm, by: laptop, short) } == .corrupt)
            _ = try await it.share(it.terms(), of: vm, by: laptop, content, openMax: 1)
            #expect(
                await code { _ = try await it.share(it.terms(), of: vm, by: laptop, content, openMax: 1) }
                    == .unavailable)
            #expect(try await it.store.shares(of: ClockedStore.account).count == 1)
        },
        Clause("a share that is revoked or has expired is nothing but the reason, and later not even that") {
            it async throws -> Void in
            let vm = try await it.create("work")
            let (laptop, guest) = (try await it.join("laptop"), DeviceID.random())
            let (content, chunks) = try await it.content()
            let revoked = it.terms()
            _ = try await it.share(revoked, of: vm, by: laptop, content)
            it.clock.advance(by: .seconds(1))
            let expired = it.terms()
            _ = try await it.share(expired, of: vm, by: laptop, content)
            #expect(
                await code { _ = try await it.store.revokeShare(revoked.id, of: ClockedStore.hash("x")) } == .notFound)
            #expect(
                try await it.store.revokeShare(revoked.id, of: ClockedStore.account).isEmpty, "the other has them too")
            #expect(await code { _ = try await it.store.openShare(revoked, tag: "tag", by: guest) } == .unauthorized)
            #expect(try await it.store.endShares().isEmpty)
            it.clock.advance(by: .seconds(60))
            #expect(Set(try await it.store.endShares()) == [chunks[0].blob, chunks[1].blob])
            #expect(try await it.store.chunk(chunks[0].hash) == nil)
            #expect(await code { _ = try await it.store.openShare(expired, tag: "tag", by: guest) } == .unauthorized)
            #expect(try await it.store.shares(of: ClockedStore.account).map(\.revoked) == [true, false])
            it.clock.advance(by: ShareRecord.memory)
            #expect(try await it.store.endShares().isEmpty)
            #expect(try await it.store.shares(of: ClockedStore.account).isEmpty)
            #expect(await code { _ = try await it.store.openShare(expired, tag: "tag", by: guest) } == .notFound)
        },
        Clause("what a share names stays, and its VM may go") { it async throws -> Void in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            let (content, chunks) = try await it.content()
            _ = try await it.share(it.terms(for: 9999), of: vm, by: laptop, content)
            _ = try await it.store.remove(vm) { _ in }
            it.clock.advance(by: .seconds(1000))
            #expect(try await it.store.dropChunks(unusedFor: .seconds(1)) == 0)
            for chunk in chunks { #expect(try await it.store.chunk(chunk.hash) != nil) }
        },
    ]
}
