import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncDevice
import VMSyncPolicy

/// A history of a thousand checkpoints: how long it takes to list it, to go back to any of them, and what thinning it out frees.
package struct HistoryBench: Sendable {
    package var checkpoints: UInt64 = 1000
    /// Of the device that makes them: a thousand come in two minutes.
    private static let interval = 0.1
    /// Checkpoints that are gone back to: of each hundred the last before the next span, to which the longest way leads.
    private static let restores = 10
    private static let lists = 5
    let guest: SmallGuest
    let say: @Sendable (String) -> Void

    package func run(program: String) async throws -> HistoryBenchReport {
        try await Trial.with(program: program) { trial in
            try await trial.startServer()
            for device in ["A", "B"] { try await trial.addDevice(device, interval: Self.interval) }
            try await trial.create(guest, on: "A")
            try await trial.tell("A", "start", Done())
            say("making \(checkpoints) checkpoints")
            _ = try await waitFor("the checkpoints", for: .seconds(1200)) {
                try await trial.vm("A")?.head.rawValue ?? 0 >= checkpoints ? true : nil
            }
            try await trial.tell("A", "suspend", Done())
            return try await measure(trial)
        }
    }

    private func measure(_ trial: Trial) async throws -> HistoryBenchReport {
        var report = HistoryBenchReport()
        for _ in 0..<Self.lists {
            let (time, entries) = try await timed { try await Self.list(trial) }
            report.list_s.append(time)
            report.checkpoints = entries.count
        }
        let all = try await Self.list(trial)
        for number in 1...Self.restores {
            guard let target = all.last(where: { $0.sequence.rawValue < UInt64(number) * SpanLadder.width })?.sequence
            else {
                continue
            }
            let order = RestoreOrder(checkpoint: "\(target)", newName: nil, diskOnly: false)
            let (time, _) = try await timed {
                try await trial.control("B") {
                    try await $0.run("/vms/\(Stage.vmName)/restore", order, as: Restored.self)
                }
            }
            say("back to \(target): \(time.fixed(2)) s")
            report.restores.append(.init(checkpoint: target.rawValue, seconds: time))
        }
        report.stored_bytes = try Self.bytesStored(trial)
        let rules = ForgetOrder(rules: Retention(last: 1), isTrial: false)
        let said = try await trial.control("A") {
            try await $0.post("/vms/\(Stage.vmName)/forget", rules, as: PruneReport.self)
        }
        report.said_bytes = said.bytes
        let (time, _) = try await timed {
            try await trial.control("A") {
                try await $0.post("/vms/\(Stage.vmName)/prune", PruneRequest(isTrial: false), as: PruneReport.self)
            }
        }
        report.prune_s = time
        report.freed_bytes = report.stored_bytes - (try Self.bytesStored(trial))
        return report
    }

    private static func list(_ trial: Trial) async throws -> [HistoryEntry] {
        try await trial.control("A") { try await $0.get("/vms/\(Stage.vmName)/history", as: [HistoryEntry].self) }
    }

    private func timed<Answer>(_ body: () async throws -> Answer) async throws -> (Double, Answer) {
        let start = ContinuousClock.now
        let answer = try await body()
        return ((ContinuousClock.now - start).seconds, answer)
    }

    /// What lies in the server's blobs.
    private static func bytesStored(_ trial: Trial) throws -> UInt64 {
        let folder = trial.serverFolder + "/blobs"
        return try FileManager.default.subpathsOfDirectory(atPath: folder).reduce(0) { sum, path in
            let facts = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(path)")
            return facts[.type] as? FileAttributeType == .typeRegular ? sum + (facts[.size] as? UInt64 ?? 0) : sum
        }
    }
}

/// What `HistoryBench` found out.
package struct HistoryBenchReport: Sendable, Codable {
    package struct Restore: Sendable, Codable {
        package var checkpoint: UInt64
        package var seconds: Double
    }

    package var checkpoints = 0
    package var list_s: [Double] = []
    package var restores: [Restore] = []
    package var stored_bytes: UInt64 = 0
    /// By `forget`, of what `prune` would free.
    package var said_bytes: UInt64 = 0
    package var freed_bytes: UInt64 = 0
    package var prune_s = 0.0

    package var markdown: String {
        var table = MarkdownTable(head: ["", "median", "longest"])
        let restores = restores.map(\.seconds).sorted()
        for (name, times) in [("`history`, s", list_s.sorted()), ("`restore` of one, s", restores)] {
            table.rows.append([name, (times.percentile(50) ?? 0).fixed(2), (times.last ?? 0).fixed(2)])
        }
        table.rows.append(["`prune`, s", prune_s.fixed(2), ""])
        return """
            The small guest with \(checkpoints) checkpoints, on loopback. Ten of them are gone back to on a device that is up \
            to date: of each hundred the last before a span, to which the longest way leads. Of \(ByteCount(stored_bytes)) \
            that are stored `forget --keep-last 1` says that \(ByteCount(said_bytes)) can go, and `prune` frees \
            \(ByteCount(freed_bytes)).

            \(table.text)
            """
    }
}
