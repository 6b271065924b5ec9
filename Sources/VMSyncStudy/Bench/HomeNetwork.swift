import VMSyncCore
import VMSyncMachine

/// Two devices in one house: a network namespace each, a cable between them, and a line of its own from each to the server,
/// which is in this namespace. No packet is forwarded: each goes over the cable at whose other end it is meant for.
package struct HomeNetwork: Sendable {
    /// The devices are on the far sides.
    package let lines: [ShapedLink]
    /// By which both reach the server.
    package let serverAddress: String

    private static let cable = "lan"

    /// Runs `body` with a new house and leaves none behind.
    package static func with<Result: Sendable>(_ body: (HomeNetwork) async throws -> Result) async throws -> Result {
        try await ShapedLink.with { first in
            try await ShapedLink.with { second in
                let home = HomeNetwork(lines: [first, second], serverAddress: ShapedLink.freeAddress())
                try await home.connect()
                return try await body(home)
            }
        }
    }

    /// What is made here goes with the namespaces and the first line's card.
    private func connect() async throws {
        let spaces = lines.map(\.namespace)
        try await ShapedLink.ip("addr", "add", "\(serverAddress)/32", "dev", lines[0].nearCard)
        for line in lines {
            try await ShapedLink.ip(
                "-n", line.namespace, "route", "add", "\(serverAddress)/32", "via", line.nearAddress)
        }
        try await ShapedLink.ip(
            "-n", spaces[0], "link", "add", Self.cable, "type", "veth", "peer", "name", Self.cable, "netns", spaces[1])
        let ends = ShapedLink.freePair()
        for (space, address) in zip(spaces, [ends.0, ends.1]) {
            try await ShapedLink.ip("-n", space, "addr", "add", "\(address)/30", "dev", Self.cable)
            try await ShapedLink.ip("-n", space, "link", "set", Self.cable, "up")
        }
    }

    /// Lets no more than this through between the devices, in each direction.
    package func setCable(toMegabits rate: Double) async throws {
        for line in lines {
            try await ShapedLink.tc(
                ["-n", line.namespace, "qdisc", "replace", "dev", Self.cable] + ShapedLink.shape(rate))
        }
    }

    /// Lets no more than this through between each device and the server.
    package func setLines(up: Double, down: Double) async throws {
        for line in lines { try await line.slowDown(toMegabits: down, back: up) }
    }
}
