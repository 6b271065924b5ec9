/// Bounds of what is exchanged with a bus.
enum BusLimits {
    /// For an answer. Services that are busy take a second; one that is started by its first call some more.
    static let answer = Duration.seconds(5)
    /// Bytes of one message; those that are read here have some hundred.
    static let message = 1 << 20
    /// File descriptors of one message: an inhibitor's is one.
    static let descriptors = 4
    /// News that nobody has taken yet; some come in a second at most, unless somebody floods us.
    static let newsKept = 256
    /// Between two tries to connect: at first, and at last. A bus that is restarted is there again in less than a
    /// second; on a host without one a try is one system call.
    static let firstRest = Duration.milliseconds(250)
    static let longestRest = Duration.seconds(30)
    /// Milliseconds: while a connection is set up libdbus waits by itself, and only between its waits can be stopped.
    static let handshakeStep: Int32 = 100
}
