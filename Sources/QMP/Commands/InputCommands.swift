/// Presses the keys in order, then lets them go.
package struct QMPSendKey: QMPCommand {
    package static let name = "send-key"
    private let keys: [QMPKey]
    private let holdTime: UInt64?

    /// - Parameters:
    ///   - keys: what to press, such as `ctrl`, `alt`, `delete`.
    ///   - holdTime: how long to hold them, in milliseconds; nil for QEMU's 100.
    package init(_ keys: [QMPKey], holdTime: UInt64? = nil) {
        self.keys = keys
        self.holdTime = holdTime
    }

    private enum CodingKeys: String, CodingKey {
        case keys
        case holdTime = "hold-time"
    }
}

/// Gives input events to the guest, all at once and in order.
package struct QMPInputSendEvent: QMPCommand {
    package static let name = "input-send-event"
    private let events: [QMPInputEvent]
    package init(_ events: [QMPInputEvent]) { self.events = events }
}

/// A key, by QEMU's name for it (`QKeyCode`, such as `a`, `ret`, `meta_l`) or by its XT scan code.
package enum QMPKey: Encodable, Sendable, Hashable {
    /// QEMU's name.
    case code(String)
    /// The scan code; with an `e0` before it, plus 0x80.
    case number(Int)

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .code(let name): try QMPTagged(type: "qcode", data: name).encode(to: encoder)
        case .number(let number): try QMPTagged(type: "number", data: number).encode(to: encoder)
        }
    }
}

/// One movement of a key, a button or the pointer.
package enum QMPInputEvent: Encodable, Sendable, Hashable {
    /// `x` grows to the right, `y` downwards.
    package enum Axis: String, Encodable, Sendable { case x, y }

    /// A key that went down or up.
    case key(QMPKey, down: Bool)
    /// `button` is QEMU's name: `left`, `middle`, `right`, `wheel-up`, `wheel-down`, `side`, `extra`.
    case button(String, down: Bool)
    /// A pointer that was moved by `value` steps.
    case relative(Axis, value: Int)
    /// A pointer that was set to `value`, 0…32767 from edge to edge of the screen.
    case absolute(Axis, value: Int)

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .key(let key, let down):
            try QMPTagged(type: "key", data: KeyMove(key: key, down: down)).encode(to: encoder)
        case .button(let button, let down):
            try QMPTagged(type: "btn", data: ButtonMove(button: button, down: down)).encode(to: encoder)
        case .relative(let axis, let value):
            try QMPTagged(type: "rel", data: PointerMove(axis: axis, value: value)).encode(to: encoder)
        case .absolute(let axis, let value):
            try QMPTagged(type: "abs", data: PointerMove(axis: axis, value: value)).encode(to: encoder)
        }
    }

    private struct KeyMove: Encodable {
        let key: QMPKey
        let down: Bool
    }

    private struct ButtonMove: Encodable {
        let button: String
        let down: Bool
    }

    private struct PointerMove: Encodable {
        let axis: Axis
        let value: Int
    }
}

/// A choice as QMP writes it: which one, and what belongs to it.
private struct QMPTagged<Payload: Encodable>: Encodable {
    let type: String
    let data: Payload
}
