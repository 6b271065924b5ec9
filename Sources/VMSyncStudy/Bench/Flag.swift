import Synchronization

/// Is raised once, by any task.
final class Flag: Sendable {
    private let raised = Atomic(false)
    var isRaised: Bool { raised.load(ordering: .acquiring) }
    func raise() { raised.store(true, ordering: .releasing) }
}

/// What one task leaves for another.
final class Slot<Value: Sendable>: Sendable {
    private let held = Mutex<Value?>(nil)
    var value: Value? {
        get { held.withLock { $0 } }
        set { held.withLock { $0 = newValue } }
    }
}
