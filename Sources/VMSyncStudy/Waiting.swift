import VMSyncCore

/// Asks `probe` until it gives something.
/// - Throws: `timeout` naming what was waited for.
package func waitFor<Found: Sendable>(
    _ what: String, for limit: Duration = .seconds(120), every pause: Duration = .milliseconds(20),
    isolation: isolated (any Actor)? = #isolation,
    until probe: () async throws -> Found?
) async throws -> Found {
    let deadline = ContinuousClock.now + limit
    while true {
        if let found = try await probe() { return found }
        guard ContinuousClock.now < deadline else {
            throw VMSyncError(.timeout, "waited \(limit) for \(what)")
        }
        try await Task.sleep(for: pause)
    }
}
