/// What `NBDBench` found out. Speeds are medians over the rounds.
package struct NBDBenchReport: Sendable, Codable {
    package struct Server: Sendable, Codable {
        package var name: String
        /// What its acknowledgements are worth.
        package var promise: String
    }

    package struct Row: Sendable, Codable {
        package var workload: String
        package var unit: String
        /// By server, one number per round.
        package var speeds: [String: [Double]]
        /// By server.
        package var medians: [String: Double]
        /// By other server: ours divided by its speed. The median of the rounds' own ratios, for what slows a round down
        /// slows both of its sides.
        package var ours_over: [String: Double]
    }

    package var disk_bytes: Int
    package var rounds: Int
    package var seconds_per_run: Int
    package var servers: [Server]
    package private(set) var rows: [Row]

    init(bench: NBDBench) {
        disk_bytes = bench.diskBytes
        rounds = bench.rounds
        seconds_per_run = bench.secondsPerRun
        servers = NBDBenchServer.Kind.allCases.map { Server(name: $0.rawValue, promise: $0.promise) }
        rows = NBDLoad.allCases.map {
            Row(workload: $0.rawValue, unit: $0.unit, speeds: [:], medians: [:], ours_over: [:])
        }
    }

    mutating func add(_ speed: Double, of server: NBDBenchServer.Kind, under load: NBDLoad) {
        guard let index = rows.firstIndex(where: { $0.workload == load.rawValue }) else { return }
        rows[index].speeds[server.rawValue, default: []].append(speed)
        rows[index].summarize()
    }

    /// The least of `ours_over` beside that server over all workloads.
    package func worst(beside server: String) -> Double? { rows.compactMap { $0.ours_over[server] }.min() }
}

extension NBDBenchReport.Row {
    fileprivate mutating func summarize() {
        medians = speeds.compactMapValues { $0.sorted().percentile(50) }
        let ours = speeds[NBDBenchServer.Kind.vmsync.rawValue] ?? []
        for (server, theirs) in speeds where server != NBDBenchServer.Kind.vmsync.rawValue {
            ours_over[server] = zip(ours, theirs).map { $0 / $1 }.sorted().percentile(50)
        }
    }
}

extension NBDBenchReport {
    /// As a table for a person, one workload per line.
    package var text: String {
        let names = servers.map(\.name)
        let head = ([Self.column("", 38)] + names.map { Self.column($0, -16) }).joined()
        let lines = rows.map { row in
            let cells = names.map { name in
                let ratio = row.ours_over[name].map { " (\(Self.fixed($0)))" } ?? ""
                return Self.column("\(Int(row.medians[name] ?? 0))\(ratio)", -16)
            }
            return Self.column("\(row.workload)", 38) + cells.joined() + "  \(row.unit)"
        }
        return ([head] + lines + ["(in brackets: ours ÷ theirs)"]).joined(separator: "\n")
    }

    private static func column(_ text: String, _ width: Int) -> String {
        let space = String(repeating: " ", count: max(0, abs(width) - text.count))
        return width < 0 ? space + text : text + space
    }

    private static func fixed(_ number: Double) -> String {
        let hundredths = Int((number * 100).rounded())
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    }
}
