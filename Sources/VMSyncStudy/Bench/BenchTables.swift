import VMSyncCore

extension SessionBenchReport {
    /// Sums over each session.
    package var markdown: String {
        var table = MarkdownTable(head: [
            "session", "checkpoints", "ours", "changed bytes", "**ours ÷ changed**", "dirty", "changed since start",
            "dirty since start", "zstd -3 of dirty", "median ours",
        ])
        for session in sessions {
            let total = session.policyTotal
            table.rows.append(
                [session.problems.isEmpty ? session.name : "\(session.name) (did not happen)", "\(session.ours.count)"]
                    + [session.oursTotal, total.changed_since_previous].map { ByteCount($0).description }
                    + ["**\(session.ratio.fixed(3))**"]
                    + [
                        total.dirty_since_previous, total.changed_since_start, total.dirty_since_start, total.zstd,
                        session.ours.sorted().percentile(50) ?? 0,
                    ].map { ByteCount($0).description })
        }
        return """
            A checkpoint every \(interval_s.fixed(0)) s for \(seconds) s of each session. The four policies are those of \
            the VMsync paper; *changed bytes* since the previous checkpoint is its best. Memory, screen and disk count on \
            both sides, ours with everything else that a pack holds.

            \(table.text)

            Some of the same checkpoints, packed by others. `zstd --patch-from` and xdelta3 go from the whole memory \
            before to the whole memory after; screen and disks would come on top. The floor is `xz -9e` of our own records.

            \(samples)
            """
    }

    private var samples: String {
        var table = MarkdownTable(head: [
            "session, checkpoint", "ours", "ours at zstd -19", "floor", "zstd --patch-from", "xdelta3",
        ])
        for session in sessions {
            for sample in session.samples {
                let others = [sample.patch_from, sample.xdelta3].map { $0.map { ByteCount($0).description } ?? "" }
                table.rows.append(
                    ["\(session.name), \(sample.number + 1)"]
                        + [sample.ours, sample.ours_strong, sample.floor].map { ByteCount($0).description } + others)
            }
        }
        return table.text
    }
}

extension PauseBenchReport {
    package var markdown: String {
        var table = MarkdownTable(head: [
            "session", "pauses", "p50 ms", "p90", "p99", "longest", "stop", "device state", "continue", "scan", "copy",
            "pack, median", "encoding, CPU ms", "process, CPU ms", "memory beyond the guest",
        ])
        for session in sessions {
            let parts = ["stop", "device_state", "continue", "scan", "copy"].map {
                (session.parts_ms[$0]?.p50 ?? 0).fixed(2)
            }
            table.rows.append(
                [session.name, "\(session.pauses.count)"]
                    + [session.pause_ms.p50, session.pause_ms.p90, session.pause_ms.p99, session.pause_ms.max].map {
                        $0.fixed(1)
                    } + parts
                    + [
                        ByteCount(Int(session.pack_bytes.p50)).description, (session.encode_s * 1000).fixed(1),
                        (session.process_s * 1000).fixed(1), ByteCount(session.memory_beyond_guest).description,
                    ])
        }
        return """
            One checkpoint a second. `scan` and `copy` lie inside `device state`, the other parts follow each other. \
            Processor time and memory are per checkpoint and of one process, which also serves the guest's disk and plays \
            the session; allowed are \(ByteCount(memoryAllowed)) (a tenth of the guest's memory and 64 MB).

            \(table.text)
            """
    }
}

extension SlowdownBenchReport {
    package var markdown: String {
        var table = MarkdownTable(head: ["load", "work lost at 1 Hz", "at 10 Hz", "pieces/s without", "1 Hz", "10 Hz"])
        for row in rows {
            let medians = ["0", "1", "10"].map { (row.pieces[$0] ?? []).sorted().percentile(50) ?? 0 }
            let losses = [1, 10].map { rate in
                "\((row.slowdown(rate) * 100).fixed(1)) ± \((row.uncertainty(rate) * 100).fixed(1)) %"
            }
            table.rows.append([row.load] + losses + medians.map { $0.fixed(1) })
        }
        return """
            A program in the guest, without syncing and with one and ten checkpoints a second in turn; \(rounds) rounds \
            of \(seconds_per_turn) s each, medians with their standard errors. *memory* writes all of 16 MiB over and over.

            \(table.text)
            """
    }
}

extension CodecBenchReport {
    package var markdown: String {
        var table = MarkdownTable(head: ["step", "MB/s in, one core", "beside memcpy"])
        let copy = median(CodecStep.copy.rawValue)
        for step in CodecStep.allCases {
            let speed = median(step.rawValue)
            table.rows.append([step.rawValue, speed.fixed(0), (copy > 0 ? speed / copy : 0).fixed(3)])
        }
        table.rows.append([
            "the checkpoints themselves, sealed; median of \(sealing.count)", medianSealing.fixed(0),
            (copy > 0 ? medianSealing / copy : 0).fixed(3),
        ])
        return """
            The \(ByteCount(bytes)) of pages that a desktop writes when it opens a browser, \(rounds) rounds, time of one \
            thread on a processor.

            \(table.text)
            """
    }
}
