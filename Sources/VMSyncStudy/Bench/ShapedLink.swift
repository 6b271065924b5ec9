#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCore
import VMSyncMachine

/// Two machines in one: this network namespace, *near*, and one of its own, *far*, joined by a cable (a pair of virtual
/// network cards) that can be made slow, and that counts its bytes. Unix sockets and files are common to both sides.
package struct ShapedLink: Sendable {
    /// What may leave at once after a pause: 2.6 ms of what the cable carries, 32 KB at 100 Mbit/s, and some packets at
    /// least. A card hands over up to 64 KB in one piece; what is larger than this is cut into packets first, so nothing is
    /// lost by it.
    package static func burstBytes(ofMegabits rate: Double) -> Int { max(4096, Int(rate * 32_768 / 100)) }
    /// The longest queue before the cable: what a home router of good manners has. Longer ones drop.
    package static let queueMilliseconds = 50
    /// But it holds some packets, however slow the cable is: ten of the largest.
    private static let queueBytesMin = 16_384

    /// The far side's name, for `ip netns`.
    package let namespace: String
    package let nearAddress: String
    package let farAddress: String
    /// The near end of the cable; the far one is called `farCard` in its namespace.
    let nearCard: String
    static let farCard = "far"

    /// Runs `body` with a new link and leaves none behind, whatever happens.
    package static func with<Result: Sendable>(_ body: (ShapedLink) async throws -> Result) async throws -> Result {
        let link = try ShapedLink()
        let result: Swift.Result<Result, any Error>
        do {
            try await link.make()
            result = .success(try await body(link))
        } catch {
            result = .failure(error)
        }
        await link.remove()
        return try result.get()
    }

    private init() throws(VMSyncError) {
        guard geteuid() == 0 else {
            throw VMSyncError(
                .unauthorized, "a network of its own can be made by root only", hint: "the same command with sudo")
        }
        let name = Identifier.random().prefix(8)
        namespace = "vmsync-\(name)"
        nearCard = "vms-\(name)"
        (nearAddress, farAddress) = Self.freePair()
    }

    /// Addresses for the ends of a cable. They are set aside for measurements (RFC 2544), four for each cable.
    static func freePair() -> (String, String) {
        let place = Int.random(in: 0..<1 << 15) * 4
        func address(_ number: Int) -> String { "198.\(18 + number >> 16).\(number >> 8 & 255).\(number & 255)" }
        return (address(place + 1), address(place + 2))
    }

    static func freeAddress() -> String { freePair().0 }

    private func make() async throws {
        try await Self.ip("netns", "add", namespace)
        try await Self.ip(
            "link", "add", nearCard, "type", "veth", "peer", "name", Self.farCard, "netns", namespace)
        try await Self.ip("addr", "add", "\(nearAddress)/30", "dev", nearCard)
        try await Self.ip("link", "set", nearCard, "up")
        try await Self.ip("-n", namespace, "addr", "add", "\(farAddress)/30", "dev", Self.farCard)
        try await Self.ip("-n", namespace, "link", "set", Self.farCard, "up")
        try await Self.ip("-n", namespace, "link", "set", "lo", "up")
    }

    /// Lets no more than this through from now on, in each direction.
    package func slowDown(toMegabits rate: Int) async throws {
        try await slowDown(toMegabits: Double(rate), back: Double(rate))
    }

    /// - Parameters:
    ///   - rate: from the near side to the far one.
    ///   - back: from the far side.
    package func slowDown(toMegabits rate: Double, back: Double) async throws {
        try await Self.tc(["qdisc", "replace", "dev", nearCard] + Self.shape(rate))
        try await Self.tc(["-n", namespace, "qdisc", "replace", "dev", Self.farCard] + Self.shape(back))
    }

    static func shape(_ rate: Double) -> [String] {
        let burst = burstBytes(ofMegabits: rate)
        let queue = max(Int(rate * 1000 / 8) * queueMilliseconds, queueBytesMin)
        // A queue of its own each time: in one that is kept, what was taken in under a larger burst than it has now blocks it
        // for good. The handle has to differ from the one before.
        let handle = String(Int.random(in: 1...0xfffe), radix: 16)
        return [
            "root", "handle", "\(handle):", "tbf", "rate", "\(Int(rate * 1000))kbit", "burst", "\(burst)", "limit",
            "\(burst + queue)",
        ]
    }

    /// Pulls the cable, or plugs it in again. Nobody is told: what is sent meanwhile is lost.
    package func plug(_ isIn: Bool) async throws {
        // At the near end: the far one's address would go with its card, and the server is reached by it on its own side too.
        try await Self.ip("link", "set", nearCard, isIn ? "up" : "down")
    }

    /// Bytes that went over the cable so far, both ways together, as the near card counts them: with the headers of
    /// packets, and with what was sent twice.
    package func bytes() throws(VMSyncError) -> UInt64 {
        try counter("tx_bytes") + counter("rx_bytes")
    }

    private func counter(_ name: String) throws(VMSyncError) -> UInt64 {
        let path = "/sys/class/net/\(nearCard)/statistics/\(name)"
        guard let text = try? String(contentsOfFile: path, encoding: .utf8),
            let count = UInt64(text.trimmingCharacters(in: .whitespacesAndNewlines))
        else { throw VMSyncError(.io, "the counter \(path) can't be read") }
        return count
    }

    /// Removes both ends and the namespace; all that runs there must have ended. Does nothing to what isn't there.
    ///
    /// Shielded: a cancelled measurement must leave nothing behind either.
    private func remove() async {
        let link = self
        await Task {
            try? await Self.ip("link", "del", link.nearCard)
            try? await Self.ip("netns", "del", link.namespace)
        }.value
    }

    static func ip(_ arguments: String...) async throws {
        try await QEMUTool.run("ip", arguments, package: "iproute2")
    }

    static func tc(_ arguments: [String]) async throws {
        try await QEMUTool.run("tc", arguments, package: "iproute2")
    }
}

// MARK: - The far side

extension ShapedLink {
    /// The file that stands for the far namespace.
    package var path: String { "/run/netns/\(namespace)" }

    /// The command line that runs `command` on the far side; the process is the command's own.
    package func farCommand(_ command: [String]) -> [String] { ["nsenter", "--net=\(path)"] + command }
}
