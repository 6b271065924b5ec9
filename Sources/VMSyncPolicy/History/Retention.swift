import Foundation
import VMSyncCore

/// Which checkpoints stay on the list. (docs/protocol/history.md, "Forgetting")
package struct Retention: Hashable, Sendable, Codable {
    /// The newest ones.
    package var last: Int?
    /// Those younger than this, in seconds.
    package var within: Double?
    /// One of each of so many hours, days that have any.
    package var hourly: Int?
    package var daily: Int?

    package init(last: Int? = nil, within: Double? = nil, hourly: Int? = nil, daily: Int? = nil) {
        self.last = last
        self.within = within
        self.hourly = hourly
        self.daily = daily
    }

    /// - Throws: `invalidInput` without a rule, or with one that can't be meant.
    package func validate() throws(VMSyncError) {
        let counts = [last, hourly, daily].compactMap(\.self)
        guard !counts.isEmpty || within != nil else {
            throw VMSyncError(
                .invalidInput, "without a rule nothing would be kept but the newest checkpoint",
                hint: "say what to keep, as in --keep-last 100 --keep-daily 30")
        }
        guard counts.allSatisfy({ $0 >= 0 }), within.map({ $0 >= 0 && $0.isFinite }) ?? true else {
            throw VMSyncError(.invalidInput, "what is to be kept can't be less than nothing")
        }
    }
}

extension HistoryOutline {
    /// The listed checkpoints that `rules` don't keep. The head and those with a tag always stay.
    /// - Parameter calendar: in which hours and days are counted.
    package func forgotten(by rules: Retention, at now: Timestamp, _ calendar: Calendar) -> [Sequence] {
        let listed = listed
        var kept: Set<Sequence> = Set(listed.filter { $0.tag != nil }.map(\.sequence))
        if let head { kept.insert(head.sequence) }
        if let last = rules.last { kept.formUnion(listed.suffix(last).map(\.sequence)) }
        if let within = rules.within {
            kept.formUnion(listed.filter { Double(now.rawValue - $0.created.rawValue) < within * 1000 }.map(\.sequence))
        }
        for (count, unit) in [(rules.hourly, Calendar.Component.hour), (rules.daily, .day)] {
            guard let count else { continue }
            kept.formUnion(best(of: listed, ofEach: unit, calendar).suffix(count))
        }
        return listed.map(\.sequence).filter { !kept.contains($0) }
    }

    /// Of each `unit` of time the checkpoint that is cheapest to keep: it stands on the highest rung, and of several it is
    /// the newest.
    private func best(
        of listed: [OutlineCheckpoint], ofEach unit: Calendar.Component, _ calendar: Calendar
    ) -> [Sequence] {
        var best: [(start: Date, sequence: Sequence, rung: Int)] = []
        for checkpoint in listed {
            let date = Date(timeIntervalSince1970: Double(checkpoint.created.rawValue) / 1000)
            let start = calendar.dateInterval(of: unit, for: date)?.start ?? date
            let rung = SpanLadder.rung(of: checkpoint.sequence, basis: checkpoint.basis)
            if let newest = best.last, newest.start == start {
                if rung >= newest.rung { best[best.count - 1] = (start, checkpoint.sequence, rung) }
            } else {
                best.append((start, checkpoint.sequence, rung))
            }
        }
        return best.map(\.sequence)
    }
}
