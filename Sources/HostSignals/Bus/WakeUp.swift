#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Ends the wait of a thread that polls: a byte in a pair of sockets. (Swift's Glibc has neither pipe2 nor eventfd.)
final class WakeUp: Sendable {
    private let readEnd: OwnedDescriptor
    private let writeEnd: OwnedDescriptor

    /// nil if the process has no descriptors left.
    init?() {
        var ends: [Int32] = [-1, -1]
        let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        guard socketpair(AF_UNIX, Int32(kind), 0, &ends) == 0 else { return nil }
        readEnd = OwnedDescriptor(ends[0])
        writeEnd = OwnedDescriptor(ends[1])
    }

    /// From any thread. A socket that is full wakes as well.
    func signal() {
        var byte: UInt8 = 1
        _ = write(writeEnd.number, &byte, 1)
    }

    /// Waits for a signal, and for `events` of `descriptor`, at most until `deadline`.
    /// - Parameters:
    ///   - descriptor: -1 for none.
    ///   - deadline: nil for ever.
    func wait(_ descriptor: Int32 = -1, for events: Int32 = 0, until deadline: ContinuousClock.Instant?) {
        var polled = [
            pollfd(fd: readEnd.number, events: Int16(POLLIN), revents: 0),
            pollfd(fd: descriptor, events: Int16(events), revents: 0),
        ]
        poll(&polled, nfds_t(polled.count), Self.milliseconds(until: deadline))
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(readEnd.number, &bytes, bytes.count) > 0 {}
    }

    /// Rounded up, so that nobody wakes just before the deadline, again and again.
    private static func milliseconds(until deadline: ContinuousClock.Instant?) -> Int32 {
        guard let deadline else { return -1 }
        let left = (deadline - .now) / .milliseconds(1)
        return Int32(clamping: Int64(min(max(left, 0).rounded(.up), 1e9)))
    }
}
