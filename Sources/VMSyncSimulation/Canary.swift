/// A bug that is planted in the simulated world, to see that the invariants find it. The pure code has none of them.
package enum Canary: String, CaseIterable, Sendable, Codable {
    /// The server takes a commit from whoever sends it.
    case lostFence
    /// The server answers a commit before it is durable.
    case earlyAck
    /// A device applies packs in the order in which they come, and doesn't look at what comes out.
    case unorderedApply
}
