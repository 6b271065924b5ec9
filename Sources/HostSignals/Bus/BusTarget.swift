/// Somebody on the bus, an object of his, and an interface of it.
package struct BusTarget: Sendable, Hashable {
    package let service: String
    package let path: String
    package let interface: String

    package init(service: String, path: String, interface: String) {
        self.service = service
        self.path = path
        self.interface = interface
    }

    /// The bus itself.
    static let bus = BusTarget(
        service: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus")

    static let properties = "org.freedesktop.DBus.Properties"
}
