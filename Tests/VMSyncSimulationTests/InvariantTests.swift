import Testing
import VMSyncSimulation

@Suite struct InvariantTests {
    @Test(arguments: Tampering.allCases)
    func anInvariantFindsTheStateThatItForbids(tampering: Tampering) {
        #expect(tampering.found()?.invariant == tampering.invariant)
    }

    @Test func eachInvariantIsTried() {
        #expect(Set(Tampering.allCases.map(\.invariant)) == Set(Violation.Invariant.allCases))
    }
}
