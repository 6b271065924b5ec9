import HostSignals
import Testing

@Suite("What has settled") struct SettlingTests {
    private var settling = Settling<Int>(quiet: .seconds(2))

    @Test mutating func theFirstValueIsNoChange() {
        #expect(settling.note(1, at: .seconds(0)) == false)
        #expect(settling.note(1, at: .seconds(9)) == false && !settling.isUnsettled)
    }

    @Test mutating func aChangeIsToldOnceItHasStood() {
        _ = settling.note(1, at: .seconds(0))
        #expect(settling.note(2, at: .seconds(10)) == false && settling.isUnsettled)
        #expect(settling.note(2, at: .seconds(11)) == false)
        #expect(settling.note(2, at: .seconds(12)) == true && !settling.isUnsettled)
        #expect(settling.note(2, at: .seconds(13)) == false)
    }

    @Test mutating func whatBouncesBackIsNotTold() {
        _ = settling.note(1, at: .seconds(0))
        #expect(settling.note(2, at: .seconds(10)) == false)
        #expect(settling.note(1, at: .seconds(13)) == false && !settling.isUnsettled)
    }

    @Test mutating func whatGoesOnChangingIsWaitedFor() {
        _ = settling.note(1, at: .seconds(0))
        #expect(settling.note(2, at: .seconds(10)) == false)
        #expect(settling.note(3, at: .seconds(12)) == false)
        #expect(settling.note(3, at: .seconds(14)) == true)
    }
}
