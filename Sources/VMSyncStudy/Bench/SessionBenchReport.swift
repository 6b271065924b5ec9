import VMSyncCheckpoint
import VMSyncCore

/// What `SessionBench` found out.
package struct SessionBenchReport: Sendable, Codable {
    package struct Session: Sendable, Codable {
        package var name: String
        package var seed: UInt64
        /// Why the session doesn't count; empty if it really happened.
        package var problems: [String]
        /// What the guest, the page server and the screen said of it.
        package var observations: [String: String]
        /// Per checkpoint, in order.
        package var ours: [Int]
        package var policies: [PolicyBytes]
        /// What all packs of the session are made of.
        package var tally: PackTally
        package var samples: [SampleFigures]
        package var pause_ms: Spread
        /// Written bytes taken in per second of one processor.
        package var encode_bytes_per_s: Double
    }

    package var interval_s: Double
    package var seconds: Int
    package var sessions: [Session] = []
}

extension SessionBenchReport.Session {
    init(
        _ name: String, _ seed: UInt64, _ series: CheckpointSeries, _ policies: [PolicyBytes],
        _ samples: [SampleFigures], _ verdict: SessionVerdict
    ) {
        self.init(
            name: name, seed: seed, problems: verdict.problems, observations: verdict.observations, ours: series.packs,
            policies: policies, tally: series.figures.reduce(PackTally()) { $0 + $1.tally }, samples: samples,
            pause_ms: series.pauses.whole, encode_bytes_per_s: series.encodeSpeed)
    }

    package var oursTotal: Int { ours.reduce(0, +) }
    package var policyTotal: PolicyBytes { policies.reduce(PolicyBytes(), +) }

    /// Ours as a part of the paper's best policy, the changed bytes since the checkpoint before.
    package var ratio: Double { part(of: policyTotal.changed_since_previous) }
    /// Ours as a part of what was written.
    package var ratioOfDirty: Double { part(of: policyTotal.dirty_since_previous) }

    private func part(of other: Int) -> Double { other > 0 ? Double(oursTotal) / Double(other) : 0 }
}
