/// Which blocks were changed, in the order of their changes: runs of consecutive blocks with consecutive numbers.
///
/// A block that is changed again gets a further entry, and its old one is void: an entry holds only if the map still
/// has its number. Void entries are swept when they are the greater part, so a change costs constant time on average
/// and memory stays within twice the dirty set.
struct BlockJournal {
    private struct Run {
        var block: UInt64
        var number: UInt64
        var count: UInt64
    }

    /// Below this many entries a sweep isn't worth its while.
    private static let sweepMin: UInt64 = 4096
    private var runs: [Run] = []
    /// All entries, the void ones included.
    private var count: UInt64 = 0

    mutating func append(_ block: UInt64, _ number: UInt64) {
        count += 1
        if let last = runs.last, block == last.block + last.count, number == last.number + last.count {
            runs[runs.count - 1].count += 1
        } else {
            runs.append(Run(block: block, number: number, count: 1))
        }
    }

    /// Removes the void entries if at most `live` of the many hold.
    mutating func sweepIfWorthwhile(live: UInt64, holds: (_ block: UInt64, _ number: UInt64) -> Bool) {
        guard count > Self.sweepMin, count > 2 * live else { return }
        var swept = BlockJournal()
        forEach { block, number in if holds(block, number) { swept.append(block, number) } }
        self = swept
    }

    func forEach(_ body: (_ block: UInt64, _ number: UInt64) -> Void) {
        for run in runs {
            for step in 0..<run.count { body(run.block + step, run.number + step) }
        }
    }

    /// Removes the entries up to and including number `last`, the oldest ones, and hands them to `body`.
    mutating func removeEntries(upTo last: UInt64, _ body: (_ block: UInt64, _ number: UInt64) -> Void) {
        var whole = 0
        for index in runs.indices {
            let run = runs[index]
            guard run.number <= last else { break }
            let removed = min(run.count, last - run.number + 1)
            for step in 0..<removed { body(run.block + step, run.number + step) }
            count -= removed
            guard removed == run.count else {
                runs[index] = Run(block: run.block + removed, number: run.number + removed, count: run.count - removed)
                break
            }
            whole += 1
        }
        runs.removeFirst(whole)
    }
}
