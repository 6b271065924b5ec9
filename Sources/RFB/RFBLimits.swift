/// What a connection accepts at most, so that no peer can make it grow without bound.
package enum RFBLimits {
    /// Pixels of one side. RFC 6143 has 16 bits; no screen of a virtual machine is larger than 8K.
    package static let sideMax = 8192
    /// Pixels of a whole screen: 8K UHD. An image of it takes 100 MB.
    package static let pixelsMax = 7680 * 4320
    /// Bytes of the server's name, of its reason to refuse, of a text on its clipboard.
    package static let textMax = 1 << 20
    /// Time for connecting and the handshake together; a busy host may take seconds.
    package static let connectTimeout = Duration.seconds(20)
    /// Time for a whole picture of the screen.
    package static let screenTimeout = Duration.seconds(30)
}
