import Foundation
import VMSyncCore
import VMSyncPolicy

/// Where the time of a switch went.
package struct SwitchBreakdown: Sendable, Codable {
    /// The steps between the guest's last instruction on the source and its first on the target, in order.
    package static let steps = [
        "stop", "scan", "copy", "device_state", "encode", "send", "fetch", "apply", "load", "continue",
    ]

    package var from: DeviceID
    package var to: DeviceID
    /// The switch penalty. Measured where both devices share a clock; else the sum of the steps, which leaves out the way
    /// of the message that the lease has moved.
    package var downtimeMilliseconds: Double
    /// From the command to its end.
    package var totalMilliseconds: Double
    package var lastPackBytes: Int
    package var stepsMilliseconds: [String: Double]

    package init(_ record: SwitchRecord, total: Double) {
        from = record.from
        to = record.to
        totalMilliseconds = total
        lastPackBytes = Int(record.steps["pack_bytes"] ?? 0)
        stepsMilliseconds = record.steps.filter { Self.steps.contains($0.key) }
        if let stopped = record.steps["stopped_at"], let running = record.steps["running_at"],
            record.steps["source_clock"] == record.steps["target_clock"], running >= stopped
        {
            downtimeMilliseconds = running - stopped
        } else {
            downtimeMilliseconds = stepsMilliseconds.values.reduce(0, +)
        }
    }

    package var text: String {
        let parts = Self.steps.compactMap { step in
            stepsMilliseconds[step].map { "\(step.replacing("_", with: " ")) \(String(format: "%.1f", $0))" }
        }
        let downtime = String(format: "%.0f", downtimeMilliseconds)
        return "\(downtime) ms without the guest, last pack \(ByteCount(lastPackBytes))\n  ms: "
            + parts.joined(separator: ", ")
    }

    enum CodingKeys: String, CodingKey {
        case from, to
        case downtimeMilliseconds = "downtime_ms"
        case totalMilliseconds = "total_ms"
        case lastPackBytes = "last_pack_bytes"
        case stepsMilliseconds = "steps_ms"
    }
}
