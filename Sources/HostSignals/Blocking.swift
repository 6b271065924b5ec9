import Dispatch

/// Runs what may block on a thread of its own: firmware may take long to answer for a battery.
enum Blocking {
    private static let queue = DispatchQueue(label: "host-signals", attributes: .concurrent)

    static func run<Value: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        try await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: Result(catching: work)) }
        }.get()
    }
}
