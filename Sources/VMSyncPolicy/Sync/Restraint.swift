import VMSyncCore

/// How much less a device syncs while something is dear: bytes, charge, or the processor.
package enum Restraint: Hashable, Sendable {
    /// As always.
    case none
    /// At most once in so many seconds.
    case atMostEvery(Double)
    case pause

    /// "sync", "pause", or a time.
    package init(parsing text: String) throws(VMSyncError) {
        switch text {
        case "sync": self = .none
        case "pause": self = .pause
        default:
            guard let seconds = TimeText.seconds(text) else {
                throw VMSyncError(
                    .invalidInput, "\"\(text)\" is no restraint", hint: "say sync, pause, or a time such as 5m")
            }
            self = .atMostEvery(seconds)
        }
    }

    package var text: String {
        switch self {
        case .none: "sync"
        case .atMostEvery(let seconds): TimeText.text(seconds)
        case .pause: "pause"
        }
    }

    /// By how much it holds back: of two, the larger is the stricter.
    private var strength: Double {
        switch self {
        case .none: 0
        case .atMostEvery(let seconds): seconds
        case .pause: .infinity
        }
    }

    func isStricter(than other: Restraint) -> Bool { strength > other.strength }
}
