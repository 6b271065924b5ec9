/// A service that some host on the local network offers. (RFC 6763)
package struct LocalService: Sendable, Hashable {
    /// What the one that offers it calls it; at most 63 bytes, of whatever anybody on the network says.
    package let name: String
    /// An IP address, without a zone.
    package let address: String
    package let port: UInt16

    package init(name: String, address: String, port: UInt16) {
        self.name = name
        self.address = address
        self.port = port
    }
}
