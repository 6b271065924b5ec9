package import NIOCore

/// What one client may ask of the server, so that none can exhaust it.
package struct NBDLimits: Sendable {
    /// The longest READ and WRITE, in bytes. 32 MiB is what the specification lets every client assume.
    package var payloadBytesMax = 32 << 20
    /// The longest option, in bytes: a name of 4096 bytes and several metadata queries fit.
    package var optionBytesMax = 64 << 10
    /// Requests of one connection that are worked on or not yet taken by the client. QEMU sends 16 at most; 64 leaves
    /// room for `nbdcopy`. Above it the server stops to read.
    package var requestsInFlightMax = 64
    /// Payload bytes of those requests. A single request may always run, however large.
    package var bytesInFlightMax = 64 << 20
    /// Descriptors in one reply to BLOCK_STATUS: 64 KiB of reply; the client asks again from where they end.
    package var extentsMax = 8192
    /// Connections at one time; a further one is closed at once. QEMU uses one, `nbdcopy` four.
    package var connectionsMax = 64
    /// How long a client may take from its connect to the end of the handshake.
    package var handshakeTimeout: TimeAmount = .seconds(10)
    /// How long `stop` waits for a client to take its last replies before it closes the connection.
    package var drainTimeout: TimeAmount = .seconds(5)

    package init() {}
}
