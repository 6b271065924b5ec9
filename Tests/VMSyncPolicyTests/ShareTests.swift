import Testing
import VMSyncCore
import VMSyncPolicy

@Suite("Shares") struct ShareTests {
    private let now = Timestamp(rawValue: 1_700_000_000_000)

    private func record(uses: Int? = nil, from: Int = 0, for seconds: Int = 7200) -> ShareRecord {
        let start = now + .seconds(from)
        return ShareRecord(
            share: ShareTerms(id: .random(), start: start, expires: start + .seconds(seconds), uses: uses, allow: .run),
            vm: .random(), device: .random(), created: now)
    }

    private func refusal(
        _ record: inout ShareRecord, _ terms: ShareTerms? = nil, tag: String = "t", lastUse: Timestamp? = nil,
        at time: Timestamp? = nil
    ) -> VMSyncError? {
        do throws(VMSyncError) {
            try record.open(terms ?? record.share, tag: (tag, "t"), lastUse: lastUse, at: time ?? now)
            return nil
        } catch { return error }
    }

    @Test("opens from its start until it expires") func times() {
        var later = record(from: 60, for: 60)
        for (second, word) in [(0, "yet"), (59, "yet"), (120, "expired"), (9999, "expired")] {
            let refused = refusal(&later, at: now + .seconds(second))
            #expect(refused?.code == .unauthorized && refused?.message.contains(word) == true)
        }
        for second in [60, 119] { #expect(refusal(&later, at: now + .seconds(second)) == nil) }
        #expect(later.used == 2 && !later.isOver(at: now + .seconds(119)) && later.isOver(at: now + .seconds(120)))
    }

    @Test("opens as often as it says, and goes on where the same device was") func uses() {
        var twice = record(uses: 2)
        #expect(refusal(&twice) == nil)
        #expect(refusal(&twice, lastUse: now, at: now + .seconds(3599)) == nil)
        #expect(twice.used == 1)
        #expect(refusal(&twice, lastUse: now, at: now + .seconds(3600)) == nil)
        #expect(twice.used == 2)
        #expect(refusal(&twice, at: now)?.message.contains("2 times") == true)
        #expect(twice.used == 2)
        var once = record(uses: 1)
        #expect(refusal(&once) == nil)
        #expect(refusal(&once)?.message.contains("used already") == true)
    }

    @Test("doesn't open once it is revoked, for whoever has used it neither") func revoked() {
        var record = record()
        record.revoked = true
        #expect(refusal(&record, lastUse: now)?.message.contains("revoked") == true)
        #expect(record.isOver(at: now))
    }

    @Test("says which field of a link was changed") func changed() {
        var record = record(uses: 1)
        var changes: [(String, ShareTerms)] = []
        func change(_ field: String, _ body: (inout ShareTerms) -> Void) {
            var terms = record.share
            body(&terms)
            changes.append((field, terms))
        }
        change("from") { $0.start = $0.start + .seconds(-1) }
        change("until") { $0.expires = $0.expires + .seconds(1) }
        change("uses") { $0.uses = 2 }
        change("uses") { $0.uses = nil }
        change("allow") { $0.allow = .disk }
        for (field, terms) in changes {
            let refused = refusal(&record, terms)
            #expect(refused?.code == .invalidInput && refused?.message.contains("\"\(field)\"") == true)
        }
        #expect(refusal(&record, tag: "x")?.message.contains("\"tag\"") == true)
        #expect(record.used == 0)
    }

    @Test("terms that can't be are refused", arguments: [(0, 0), (0, -5), (-100, 50), (0, 31 * 86_400)])
    func impossible(from: Int, seconds: Int) {
        #expect(throws: VMSyncError.self) { try record(from: from, for: seconds).validate() }
    }

    @Test("so are uses below one; thirty days are not") func bounds() throws {
        #expect(throws: VMSyncError.self) { try record(uses: 0).validate() }
        try record(uses: 1, from: 86_400, for: 30 * 86_400).validate()
    }
}
