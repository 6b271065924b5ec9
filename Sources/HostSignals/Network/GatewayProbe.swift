#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Makes the kernel ask for the hardware address of a gateway: right after joining a network nothing was sent to it.
package enum GatewayProbe {
    /// The service "discard" (RFC 863): whoever has it says nothing.
    package static let discard: UInt16 = 9

    /// Sends an empty datagram. What comes of it is in the ARP table a moment later, or isn't.
    /// - Parameter interface: through which it goes and through no other.
    package static func send(to address: IPv4Address, port: UInt16 = discard, interface: String) {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | UInt32(SOCK_CLOEXEC.rawValue)), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let isBound = interface.withCString {
            setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, $0, socklen_t(interface.utf8.count)) == 0
        }
        guard isBound else { return }
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = port.bigEndian
        target.sin_addr.s_addr = address.raw
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafePointer(to: &target) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, nil, 0, Int32(MSG_DONTWAIT), $0, length)
            }
        }
    }
}
