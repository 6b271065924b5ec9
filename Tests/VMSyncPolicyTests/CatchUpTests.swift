import Testing
import VMSyncCore
import VMSyncPolicy

/// The rules of docs/protocol/catch-up.md.
@Suite struct CatchUpTests {
    private static let slow = LinkSummary(overhead: 0.02, goodput: 50_000)

    private static func plan(_ count: UInt64, of size: UInt64, over link: LinkSummary = slow) -> CatchUpPlan {
        CatchUpPlan(
            (0..<count).map {
                OutlinePack(
                    PackID(Sequence(rawValue: $0), Sequence(rawValue: $0 + 1)), size: size, isSpan: false)
            }, over: link)
    }

    @Test func aPlanSaysItsBytesAndItsTime() {
        let plan = Self.plan(10, of: 5_000)
        #expect(plan.bytes == 50_000)
        #expect(abs(plan.seconds - 1.2) < 1e-9)
        #expect(plan.packsInWords == "10 packs")
        #expect(Self.plan(1, of: 5).packsInWords == "one pack")
    }

    @Test func onlyALongWayIsWorthWaitingForAShorterOne() throws {
        #expect(Self.plan(19, of: 500_000).patience == nil, "few packs")
        #expect(Self.plan(20, of: 100, over: LinkSummary(overhead: 0.001, goodput: 1e9)).patience == nil, "soon done")
        #expect(Self.plan(100, of: 1_000).patience == 2, "a merge takes that long")
        let long = try #require(Self.plan(100, of: 25_000).patience)
        #expect(abs(long - 10.4) < 1e-9, "a fifth of 52 s")
        #expect(Self.plan(100, of: 500_000).patience == 30, "nobody may come")
    }

    @Test func oneDeviceMerges() {
        let ids = (0..<3).map { _ in DeviceID.random() }.sorted { $0.rawValue < $1.rawValue }
        // The mirrors go first, however the ids stand.
        let (active, first, second) = (ids[0], ids[1], ids[2])
        #expect(MergeDuty.isMine(active, mirrors: [], holder: active))
        #expect(!MergeDuty.isMine(first, mirrors: [], holder: active))
        #expect(!MergeDuty.isMine(first, mirrors: [], holder: nil))
        for mirrors in [[first, second], [second, first]] {
            #expect(MergeDuty.isMine(first, mirrors: mirrors, holder: active))
            #expect(!MergeDuty.isMine(second, mirrors: mirrors, holder: active))
            #expect(!MergeDuty.isMine(active, mirrors: mirrors, holder: active), "mirrors first")
        }
    }

    @Test func aMergeThatComesLaterThanThePacksIsNotSent() {
        let route = Self.plan(100, of: 10_000).packs
        // 22 s one by one.
        let fast = LinkSummary(overhead: 0.01, goodput: 1e7)
        #expect(MergeDuty.isWorth(merged: 500_000, route: route, up: fast, down: Self.slow))
        #expect(!MergeDuty.isWorth(merged: 1_200_000, route: route, up: fast, down: Self.slow))
        #expect(!MergeDuty.isWorth(merged: 600_000, route: route, up: Self.slow, down: Self.slow), "sent first")
    }
}
