/// Times as a person writes them: "500ms", "20s", "5m", "1h", "2d".
package enum TimeText {
    /// Shorter than a checkpoint takes on a busy host is never meant; longer than a week is "off".
    package static let range = 0.05...604_800.0

    private static let units: [(name: String, seconds: Double)] = [
        ("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400),
    ]

    /// Seconds, within `range`; nil if it isn't a time.
    package static func seconds(_ text: String) -> Double? {
        guard let unit = units.first(where: { text.hasSuffix($0.name) }),
            let number = Double(text.dropLast(unit.name.count)), number.isFinite
        else { return nil }
        let seconds = number * unit.seconds
        return range.contains(seconds) ? seconds : nil
    }

    /// In the largest unit that leaves a whole number.
    package static func text(_ seconds: Double) -> String {
        let milliseconds = (seconds * 1000).rounded()
        let fitting = units.last { milliseconds.truncatingRemainder(dividingBy: $0.seconds * 1000) == 0 }
        guard let unit = fitting, milliseconds > 0 else { return "\(Int(milliseconds))ms" }
        return "\(Int(milliseconds / (unit.seconds * 1000)))\(unit.name)"
    }

    /// For a sentence: "0.4 s", "9 s", "3:12", "2 h".
    package static func spoken(_ seconds: Double) -> String {
        let tenths = (seconds * 10).rounded()
        if tenths < 100 { return "\(tenths / 10) s" }
        let whole = Int(min(seconds, 1e9).rounded())
        if whole < 90 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60):\(whole % 60 < 10 ? "0" : "")\(whole % 60)" }
        return "\((whole + 1800) / 3600) h"
    }
}
