import Logging
import Synchronization

/// Hands each event to every subscriber, without waiting for any of them.
final class EventFeed: Sendable {
    private struct Subscriber {
        let continuation: AsyncStream<QMPEvent>.Continuation
        var hasLost = false
    }

    private struct State {
        var subscribers: [UInt64: Subscriber] = [:]
        var observers: [UInt64: @Sendable (QMPEvent?) -> Void] = [:]
        var lastKey: UInt64 = 0
        var isFinished = false
    }

    private let state = Mutex(State())
    private let logger: Logger

    init(logger: Logger) {
        self.logger = logger
    }

    /// A stream of the events from now on; already finished if the feed is.
    func subscribe() -> AsyncStream<QMPEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: QMPEvent.self, bufferingPolicy: .bufferingNewest(QMPLimits.eventsMax))
        let key: UInt64? = state.withLock { state in
            guard !state.isFinished else { return nil }
            state.lastKey += 1
            state.subscribers[state.lastKey] = Subscriber(continuation: continuation)
            return state.lastKey
        }
        if let key {
            continuation.onTermination = { [weak self] _ in self?.remove(key) }
        } else {
            continuation.finish()
        }
        return stream
    }

    /// Calls `body` with each event from now on, and with nil at the end; at once if the feed has ended.
    /// - Returns: what `removeObserver` takes.
    func observe(_ body: @escaping @Sendable (QMPEvent?) -> Void) -> UInt64 {
        let key: UInt64? = state.withLock { state in
            guard !state.isFinished else { return nil }
            state.lastKey += 1
            state.observers[state.lastKey] = body
            return state.lastKey
        }
        if key == nil { body(nil) }
        return key ?? 0
    }

    func removeObserver(_ key: UInt64) {
        _ = state.withLock { $0.observers.removeValue(forKey: key) }
    }

    /// Gives `event` to all. One that is too far behind loses its oldest event, which is logged once per subscriber.
    func send(_ event: QMPEvent) {
        // Observers first: they are who a moment matters to.
        let observers = state.withLock { Array($0.observers.values) }
        for observer in observers { observer(event) }
        let losers = state.withLock { state in
            state.subscribers.keys.count { key in Self.deliver(event, to: &state.subscribers[key]) }
        }
        if losers > 0 {
            logger.warning("a subscriber is \(QMPLimits.eventsMax) QMP events behind and begins to lose them")
        }
    }

    /// Ends all streams after what they still hold.
    func finish() {
        let (subscribers, observers) = state.withLock { state in
            state.isFinished = true
            defer { (state.subscribers, state.observers) = ([:], [:]) }
            return (Array(state.subscribers.values), Array(state.observers.values))
        }
        for observer in observers { observer(nil) }
        // Outside the lock: finishing calls `remove`.
        for subscriber in subscribers { subscriber.continuation.finish() }
    }

    /// Returns whether the subscriber lost an event for the first time.
    private static func deliver(_ event: QMPEvent, to subscriber: inout Subscriber?) -> Bool {
        guard case .dropped = subscriber?.continuation.yield(event), subscriber?.hasLost == false else { return false }
        subscriber?.hasLost = true
        return true
    }

    private func remove(_ key: UInt64) {
        _ = state.withLock { $0.subscribers.removeValue(forKey: key) }
    }
}
