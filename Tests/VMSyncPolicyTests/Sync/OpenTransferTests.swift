import Testing
import VMSyncPolicy

/// What a pack on its way says of the link. (docs/policy.md)
@Suite struct OpenTransferTests {
    private static let size = 24_000_000
    private static let ahead: UInt64 = 192 << 10

    private static func begun() -> OpenTransfer { OpenTransfer(of: size, at: 100, meter: 1000) }

    @Test func whatIsOnTheOtherSideIsWhatTheMeterShowsButForWhatTheKernelHolds() {
        let transfer = Self.begun()
        #expect(transfer.gone(meter: 1000) == 0)
        #expect(transfer.gone(meter: 500) == 0, "a meter that began anew")
        #expect(transfer.gone(meter: 1000 + Self.ahead) == 0)
        #expect(transfer.gone(meter: 1000 + Self.ahead + 5000) == 5000)
        #expect(transfer.gone(meter: .max) == Self.size, "others use the connections too")
    }

    @Test func aLinkThatWasNeverSeenIsKnownLongBeforeThePackIsThere() {
        let transfer = Self.begun()
        let unknown = TransferModel()
        #expect(unknown.link.goodput == TransferModel.usualGoodput)
        // 47 KB/s for 20 s.
        let model = transfer.model(unknown, at: 120, meter: 1000 + Self.ahead + 940_000)
        #expect(abs(model.link.goodput - 47_000) < 3000)
    }

    @Test func aLinkThatCarriesNothingIsNoFastOne() {
        var fast = TransferModel()
        for _ in 0..<8 { fast.note(bytes: 10_000_000, seconds: 1) }
        let transfer = Self.begun()
        let later = transfer.model(fast, at: 101, meter: 1000 + 1000).link
        #expect(later.seconds(for: 1_000_000).mean > fast.link.seconds(for: 1_000_000).mean)
        // All that can have gone took a second.
        #expect(abs(transfer.model(TransferModel(), at: 101, meter: 1000 + 1000).link.goodput - 262_144) < 30_000)
        // Of a small pack that is all of it: on a link of 47 KB/s the kernel holds it until it is there.
        let small = OpenTransfer(of: 190_000, at: 100, meter: 1000)
        #expect(abs(small.model(TransferModel(), at: 104, meter: 1000 + 190_000).link.goodput - 47_000) < 5000)
        // But a moment without a byte says nothing.
        #expect(transfer.model(fast, at: 100.001, meter: 1000).link == fast.link)
    }
}
