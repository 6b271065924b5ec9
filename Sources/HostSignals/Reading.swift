/// What was read of one signal: its value, or why there is none, in words for a person. There is no third: a default
/// that looks like a value would be believed.
package enum Reading<Value: Sendable>: Sendable {
    case known(Value)
    case unknown(String)

    /// nil if it is unknown.
    package var value: Value? {
        guard case .known(let value) = self else { return nil }
        return value
    }

    package func map<Other>(_ change: (Value) -> Other) -> Reading<Other> {
        switch self {
        case .known(let value): .known(change(value))
        case .unknown(let reason): .unknown(reason)
        }
    }

    /// nil if it is known.
    package var whyUnknown: String? {
        guard case .unknown(let reason) = self else { return nil }
        return reason
    }
}

extension Reading: Equatable where Value: Equatable {}
