/// How the host is connected, judged by its default route.
package struct HostNetwork: Sendable, Equatable {
    /// The name of the default route's interface: a tunnel, if traffic goes through one.
    package let interface: Reading<String>
    /// Of that interface, and of the one below it if it is a tunnel.
    package let metered: Reading<Metered>
    /// Of the link, never of a tunnel.
    package let place: Reading<HostPlace>

    package init(interface: Reading<String>, metered: Reading<Metered>, place: Reading<HostPlace>) {
        self.interface = interface
        self.metered = metered
        self.place = place
    }
}
