/// Where the kernel's files are found; tests put others there.
package struct HostPaths: Sendable {
    /// Of `class/power_supply` and `class/net`.
    package let sys: String
    /// Of `pressure/cpu` and `loadavg`.
    package let proc: String
    /// Of `route`, `ipv6_route` and `arp`, as one network namespace has them.
    package let net: String

    package static let system = HostPaths(sys: "/sys", proc: "/proc", net: "/proc/net")

    package init(sys: String, proc: String, net: String) {
        self.sys = sys
        self.proc = proc
        self.net = net
    }
}
