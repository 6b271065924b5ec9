/// Plugs in or pulls out the cable of a network card.
package struct QMPSetLink: QMPCommand {
    package static let name = "set_link"
    private let name: String
    private let up: Bool

    /// - Parameter name: the id of the card or of its network backend.
    package init(_ name: String, up: Bool) {
        self.name = name
        self.up = up
    }
}

/// Writes a picture of the guest's screen to a file on QEMU's host. Answered when it is written.
package struct QMPScreendump: QMPCommand {
    package static let name = "screendump"
    private let filename: String
    private let format: Format

    /// How the picture is written; `png` needs a QEMU of 7.1 or later that was built with libpng.
    package enum Format: String, Encodable, Sendable { case ppm, png }

    package init(filename: String, format: Format = .ppm) {
        self.filename = filename
        self.format = format
    }
}

/// Asks about the VNC server. Refused by a QEMU built without it.
package struct QMPQueryVNC: QMPCommand {
    package static let name = "query-vnc"
    package init() {}

    /// Where the server is, and who looks on.
    package struct Response: Decodable, Sendable {
        package let enabled: Bool
        /// `unix`, `ipv4` or `ipv6`; nil if there is no server.
        package let family: String?
        package let host: String?
        /// The port, or the path of a unix socket.
        package let service: String?
        /// Who looks on; nil if there is no server.
        package let clients: [Client]?
    }

    /// A viewer's address.
    package struct Client: Decodable, Sendable {
        package let host: String
        package let service: String
    }
}
