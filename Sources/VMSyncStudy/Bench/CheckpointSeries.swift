import VMSyncCheckpoint
import VMSyncCore
import VMSyncReplica

/// Checkpoints of one session, at a fixed interval.
struct CheckpointSeries: Sendable {
    private(set) var figures: [CheckpointFigures] = []

    /// Makes checkpoints of `machine` every `interval` while `work` goes on; the one that follows its end is the last.
    static func make(
        of machine: BenchMachine, every interval: Duration, _ account: SessionAccount? = nil,
        while work: @escaping @Sendable () async throws -> Void
    ) async throws -> CheckpointSeries {
        try await withThrowingTaskGroup(of: CheckpointSeries?.self) { group in
            let worker = Task { try await work() }
            defer { worker.cancel() }
            let isOver = Flag()
            group.addTask {
                defer { isOver.raise() }
                try await withTaskCancellationHandler {
                    try await worker.value
                } onCancel: {
                    worker.cancel()
                }
                return nil
            }
            group.addTask {
                var series = CheckpointSeries()
                var next = ContinuousClock.now
                while !isOver.isRaised {
                    // A checkpoint that took longer than the interval is followed at once; none is made up for.
                    next = max(next + interval, .now)
                    try await Task.sleep(until: next, clock: .continuous)
                    series.figures.append(try await machine.checkpoint(account, every: interval))
                }
                return series
            }
            var made = CheckpointSeries()
            for try await result in group { if let result { made = result } }
            return made
        }
    }
}

extension CheckpointSeries {
    /// The guest's pauses, in milliseconds, and their parts by name.
    var pauses: (whole: Spread, parts: [String: Spread]) {
        let names = Set(figures.flatMap { $0.pause.parts.keys })
        let parts = names.map { name in (name, Spread(figures.compactMap { $0.pause.parts[name] })) }
        return (Spread(figures.map(\.pause.length)), Dictionary(uniqueKeysWithValues: parts))
    }

    var packs: [Int] { figures.map(\.packBytes) }

    /// Bytes that were written, per second of a processor that encodes them.
    var encodeSpeed: Double {
        let seconds = figures.reduce(0) { $0 + $1.encodeSeconds }
        return seconds > 0 ? Double(figures.reduce(0) { $0 + $1.dirtyBytes }) / seconds : 0
    }

    /// Seconds of a processor per checkpoint: taken out and encoded.
    var processorSeconds: Double {
        figures.isEmpty
            ? 0 : figures.reduce(0) { $0 + $1.encodeSeconds + $1.captureSeconds } / Double(figures.count)
    }
}
