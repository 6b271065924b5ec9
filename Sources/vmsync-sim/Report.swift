import Foundation
import VMSyncSimulation

/// What is printed of many histories.
struct Report: Encodable {
    struct Failure: Encodable {
        let seed: UInt64
        let invariant: String
        let detail: String
        /// What to type to see it.
        let replay: String
    }

    let histories: Int
    let seconds: Double
    let historiesPerSecond: Int
    let steps: Int
    let canary: String?
    let faults: [String: Int]
    let failure: Failure?

    init(_ campaign: Campaign, took: Duration) {
        histories = campaign.histories
        seconds = took.inSeconds
        historiesPerSecond = Int(Double(campaign.histories) / max(seconds, 0.001))
        steps = campaign.steps
        canary = campaign.canary?.rawValue
        faults = Dictionary(
            uniqueKeysWithValues: FaultKind.allCases.map { ("\($0)", campaign.faults[$0]) })
        failure = campaign.failure.map { failure in
            Failure(
                seed: failure.seed, invariant: failure.violation.invariant.rawValue, detail: failure.violation.detail,
                replay: "vmsync-sim --seed \(failure.seed)"
                    + (campaign.canary.map { " --canary \($0.rawValue)" } ?? ""))
        }
    }

    var text: String {
        let head =
            "\(histories) histories in \(String(format: "%.1f", seconds)) s (\(historiesPerSecond) a second), "
            + "\(steps) steps"
        let tried = FaultKind.allCases.map { kind in
            "  \("\(kind)".padding(toLength: 30, withPad: " ", startingAt: 0)) \(faults["\(kind)"] ?? 0)"
        }
        return ([head, "faults tried:"] + tried + [outcome]).joined(separator: "\n")
    }

    private var outcome: String {
        guard let failure else {
            return canary.map { "the canary \($0) was not found" } ?? "all invariants held"
        }
        let what = canary.map { "the canary \($0) was found" } ?? "an invariant did not hold"
        return "\(what): \(failure.invariant): \(failure.detail)\n\(failure.replay)"
    }
}

/// What is printed of one history.
struct Replay: Encodable {
    let seed: UInt64
    let steps: Int
    let log: [String]
    let invariant: String?
    let detail: String?

    init(seed: UInt64, log: [String], steps: Int, violation: Violation?) {
        self.seed = seed
        self.steps = steps
        self.log = log
        invariant = violation?.invariant.rawValue
        detail = violation?.detail
    }
}

extension Encodable {
    var json: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
            encoder.keyEncodingStrategy = .convertToSnakeCase
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }
}
