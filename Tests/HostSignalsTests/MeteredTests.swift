import HostSignals
import Testing

@Suite("What a connection costs") struct MeteredTests {
    private let home = "11111111-2222-3333-4444-555555555555 va"

    @Test func networkManagersNumbersAreRead() {
        let values = (0...5).map { Metered(networkManager: $0) }
        #expect(values == [nil, .yes, .no, .guessedYes, .guessedNo, nil])
        #expect(values.compactMap(\.self).filter(\.isMetered) == [.yes, .guessedYes])
    }

    @Test func whatWasKnownHoldsOverAReconnection() {
        var hold = MeteredHold()
        #expect(hold.note(.known(.yes), of: home, at: .seconds(1)) == .known(.yes))
        #expect(hold.note(.unknown("no route"), of: nil, at: .seconds(2)) == .unknown("no route"))
        #expect(hold.note(.unknown("not yet"), of: home, at: .seconds(3)) == .known(.yes))
        #expect(hold.note(.known(.no), of: home, at: .seconds(4)) == .known(.no))
        #expect(hold.note(.unknown("not yet"), of: home, at: .seconds(5)) == .known(.no))
    }

    @Test func itDoesNotHoldForEver() {
        var hold = MeteredHold()
        _ = hold.note(.known(.no), of: home, at: .seconds(1))
        #expect(hold.note(.unknown("x"), of: home, at: .seconds(100)) == .known(.no))
        #expect(hold.note(.unknown("x"), of: home, at: .seconds(110)) == .known(.no))
        #expect(hold.note(.unknown("x"), of: home, at: .seconds(111)) == .unknown("x"))
        #expect(hold.note(.unknown("x"), of: home, at: .seconds(112)) == .unknown("x"))
    }

    @Test func theTimeRunsWhileThereIsNoConnection() {
        var hold = MeteredHold()
        _ = hold.note(.known(.no), of: home, at: .seconds(1))
        _ = hold.note(.unknown("no route"), of: nil, at: .seconds(2))
        #expect(hold.note(.unknown("x"), of: home, at: .seconds(60)) == .unknown("x"))
    }

    @Test func anotherConnectionIsNotTheSame() {
        var hold = MeteredHold()
        _ = hold.note(.known(.no), of: home, at: .seconds(1))
        #expect(hold.note(.unknown("new"), of: "other", at: .seconds(2)) == .unknown("new"))
        #expect(hold.note(.unknown("new"), of: nil, at: .seconds(2)) == .unknown("new"))
    }

    @Test func aTunnelCostsWhatItsLinkCosts() {
        let silent = Reading<Metered>.unknown("?")
        #expect(Metered.together(tunnel: silent, link: .known(.yes)) == .known(.yes))
        #expect(Metered.together(tunnel: silent, link: .known(.guessedNo)) == .known(.guessedNo))
        #expect(Metered.together(tunnel: .known(.no), link: silent) == silent)
        #expect(Metered.together(tunnel: .known(.yes), link: .known(.no)) == .known(.yes))
        #expect(Metered.together(tunnel: .known(.guessedYes), link: .known(.yes)) == .known(.yes))
        #expect(Metered.together(tunnel: .known(.no), link: .known(.guessedYes)) == .known(.guessedYes))
    }
}
