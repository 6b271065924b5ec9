import Foundation
import NIOCore
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

/// Spans, tags and pruning, over HTTP.
struct HistoryRoutesTests {
    /// What a device says of a span of `pack` between checkpoints of `vm`.
    private static func offer(
        _ first: UInt64, _ last: UInt64, _ pack: ByteBuffer, of vm: VMID, by device: TestDevice
    ) async throws -> SpanOffer {
        func point(_ number: UInt64) async throws -> ChainPoint? {
            guard number > 0 else { return nil }
            let before = Sequence(rawValue: number - 1)
            let record = try #require(try await device.client.checkpoints(of: vm, after: before, limit: 1).first)
            return ChainPoint(sequence: record.sequence, hash: try Signed<Statement>(bytes: record.statement).hash)
        }
        let link = SpanLink(
            vm: vm, device: device.id, first: try await point(first), last: try #require(try await point(last)),
            size: UInt64(pack.readableBytes), checksum: hash(of: pack))
        return SpanOffer(
            id: PackID(Sequence(rawValue: first), Sequence(rawValue: last)), size: UInt64(pack.readableBytes),
            checksum: hash(of: pack), link: try Signed(link, by: device.keys).bytes)
    }

    @Test func aSpanComesBackToOthers() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            for sequence in UInt64(1)...4 { try await it.commit(sequence, to: vm) }
            for (last, pack) in [(UInt64(3), ByteBuffer(string: "span")), (4, randomBytes(5_000_000))] {
                let offer = try await Self.offer(0, last, pack, of: vm, by: it.laptopDevice)
                let added = try await it.laptop.add(offer, to: vm, pack: .bytes(pack))
                #expect(try await it.laptop.add(offer, to: vm, pack: .bytes(pack)) == added, "again")
                #expect(try await it.desktop.fetch(added.pack, of: vm, bytesMax: 6_000_000) == pack)
            }
            #expect(try await it.desktop.spans(of: vm).map(\.id.last.rawValue) == [3, 4])
            #expect(try await it.desktop.spans(of: vm, after: Sequence(rawValue: 3)).count == 1)
            let outline = try await it.desktop.history(of: vm)
            #expect(outline.checkpoints.count == 4 && outline.packs.count == 6)
        }
    }

    @Test func aSpanMustBeWhatItsDeviceSays() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            for sequence in UInt64(1)...4 { try await it.commit(sequence, to: vm) }
            let pack = ByteBuffer(string: "span")
            let good = try await Self.offer(1, 3, pack, of: vm, by: it.laptopDevice)
            let foreign = try await Self.offer(1, 3, pack, of: vm, by: it.desktopDevice)
            let elsewhere = try await Self.offer(1, 4, pack, of: vm, by: it.laptopDevice)
            let ends = PackID(Sequence(rawValue: 1), Sequence(rawValue: 3))
            for link in [foreign.link, elsewhere.link, Data([1, 2, 3]), Data()] {
                let bad = SpanOffer(id: ends, size: good.size, checksum: good.checksum, link: link)
                let refused = await failure { _ = try await it.laptop.add(bad, to: vm, pack: .bytes(pack)) }
                #expect(refused?.code == .invalidInput)
            }
            let other = await failure {
                _ = try await it.laptop.add(good, to: vm, pack: .bytes(ByteBuffer(string: "SPAN")))
            }
            #expect(other?.code == .corrupt)
            let upwards = PackID(Sequence(rawValue: 3), Sequence(rawValue: 3))
            let same = SpanOffer(id: upwards, size: good.size, checksum: good.checksum, link: good.link)
            #expect(
                await failure { _ = try await it.laptop.add(same, to: vm, pack: .bytes(pack)) }?.code == .invalidInput)
            #expect(try await it.laptop.spans(of: vm).isEmpty)
            // Another member may vouch for it instead.
            _ = try await it.laptop.add(good, to: vm, pack: .bytes(pack))
            try await it.desktop.setLink(foreign.link, of: ends, of: vm)
            #expect(try await it.laptop.spans(of: vm).map(\.link) == [foreign.link])
            let stolen = await failure { try await it.desktop.setLink(good.link, of: ends, of: vm) }
            #expect(stolen?.code == .invalidInput)
        }
    }

    @Test func whatIsPrunedIsGone() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            for sequence in UInt64(1)...210 { try await it.commit(sequence, to: vm) }
            let span = ByteBuffer(string: "s")
            let offer = try await Self.offer(0, 100, span, of: vm, by: it.laptopDevice)
            _ = try await it.laptop.add(offer, to: vm, pack: .bytes(span))
            try await it.desktop.setTag(Data([7]), of: Sequence(rawValue: 104), of: vm)
            let before = try files(in: it.folder + "/blobs").count
            let all = try await it.desktop.history(of: vm).checkpoints.map(\.sequence)
            let report = try await it.desktop.forget(all, of: vm, isTrial: false)
            #expect(report.sequences.count == 208)
            let pruned = try await it.desktop.prune(vm, isTrial: false)
            #expect(pruned.packs == 100 && pruned.bytes == report.bytes)
            #expect(try files(in: it.folder + "/blobs").count == before - 100)
            let left = try await it.desktop.history(of: vm)
            #expect(left.listed.map(\.sequence.rawValue) == [104, 210])
            #expect(left.route(to: Sequence(rawValue: 104), from: [.base])?.first?.last.rawValue == 100)
            #expect(try await it.raw("GET", "/vms/\(vm)/packs/49/50") == RawAnswer(404, "not-found"))
            try await it.commit(211, to: vm)
        }
    }

    @Test func aThumbnailComesBackToOthers() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            try await it.commit(1, to: vm)
            let one = Sequence(rawValue: 1)
            let none = await failure { _ = try await it.desktop.thumbnail(of: one, of: vm) }
            #expect(none?.code == .notFound)
            let largest = [UInt8](repeating: 9, count: APILimits.thumbnailBytesMax)
            for bytes in [[], [1, 2, 3], largest] {
                try await it.laptop.setThumbnail(bytes, of: one, of: vm)
                #expect(try await it.desktop.thumbnail(of: one, of: vm) == bytes)
            }
            let large = await failure { try await it.laptop.setThumbnail(largest + [0], of: one, of: vm) }
            #expect(large?.code == .invalidInput)
            #expect(try await it.desktop.thumbnail(of: one, of: vm) == largest)
        }
    }

    @Test func nobodyElseSeesOrChangesIt() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            try await it.commit(1, to: vm)
            let stranger = try await it.maker.make(at: it.address)
            let one = Sequence(rawValue: 1)
            let pack = ByteBuffer(string: "span")
            let offer = try await Self.offer(0, 1, pack, of: vm, by: it.laptopDevice)
            let tries: [@Sendable () async throws -> Void] = [
                { _ = try await stranger.client.history(of: vm) }, { _ = try await stranger.client.spans(of: vm) },
                { try await stranger.client.setTag(Data([1]), of: one, of: vm) },
                { try await stranger.client.setThumbnail([1], of: one, of: vm) },
                { _ = try await stranger.client.thumbnail(of: one, of: vm) },
                { _ = try await stranger.client.forget([one], of: vm, isTrial: false) },
                { _ = try await stranger.client.prune(vm, isTrial: false) },
                { _ = try await stranger.client.add(offer, to: vm, pack: .bytes(pack)) },
            ]
            for attempt in tries { #expect(await failure { try await attempt() }?.code == .unauthorized) }
        }
    }
}
