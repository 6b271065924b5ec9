import Synchronization

/// Locks for the parts of a disk: a part always has the same one, and parts far from each other rarely do.
///
/// Whoever changes a part, or needs it not to change, holds its lock through the reads and writes of files that belong
/// together. Whoever needs the whole disk to stand still for a moment takes all of them.
final class StripedLock: Sendable {
    private final class Stripe: Sendable { let lock = Mutex<Void>(()) }

    /// Bytes of a part: changes are made in pieces of at most this many.
    static let partBytes: UInt64 = 256 << 10
    /// Enough that the threads of a pool seldom meet by chance.
    private static let count = 64
    private let stripes = (0..<count).map { _ in Stripe() }

    /// Runs `body` while nobody else has the part that `offset` lies in.
    func with<Value>(offset: UInt64, _ body: () -> sending Value) -> sending Value {
        stripes[Int(offset / Self.partBytes % UInt64(Self.count))].lock.withLock { _ in body() }
    }

    /// Runs `body` while nobody else has any part. Always taken in the same order, so two of these can't block each other.
    func withAll<Value>(_ body: () -> sending Value) -> sending Value { withAll(from: 0, body) }

    private func withAll<Value>(from index: Int, _ body: () -> sending Value) -> sending Value {
        guard index < stripes.count else { return body() }
        return stripes[index].lock.withLock { _ in withAll(from: index + 1, body) }
    }
}
