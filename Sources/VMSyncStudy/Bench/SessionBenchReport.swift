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

extension SessionBenchReport {
    /// As a table for a person.
    package var text: String {
        let head =
            "session     checkpoints      ours   p50 ours   changed  ratio     dirty  ratio      zstd  pause p50  encode MB/s"
        return ([head] + sessions.map(Self.line)).joined(separator: "\n")
    }

    private static func line(_ session: Session) -> String {
        let total = session.policyTotal
        let cells = [
            "\(session.ours.count)", ByteCount(session.oursTotal).description,
            ByteCount(session.ours.sorted().percentile(50) ?? 0).description,
            ByteCount(total.changed_since_previous).description, fixed(session.ratio),
            ByteCount(total.dirty_since_previous).description, fixed(session.ratioOfDirty),
            ByteCount(total.zstd).description, fixed(session.pause_ms.p50),
            fixed(session.encode_bytes_per_s / 1e6),
        ]
        return session.name + cells.map { "  " + $0 }.joined() + (session.problems.isEmpty ? "" : "  DID NOT HAPPEN")
    }

    private static func fixed(_ number: Double) -> String {
        let thousandths = Int((number * 1000).rounded())
        return "\(thousandths / 1000)." + String(thousandths % 1000 + 1000).dropFirst()
    }
}
