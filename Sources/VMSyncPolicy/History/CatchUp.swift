import VMSyncCore

/// The way of a device from where it is to a checkpoint. (docs/protocol/catch-up.md)
package struct CatchUpPlan: Hashable, Sendable {
    /// In order; the first may lead from the base though the device stands elsewhere.
    package let packs: [OutlinePack]
    /// What fetching them takes over the device's link.
    package let seconds: Double

    /// - Parameter link: from the server to the device.
    package init(_ packs: [OutlinePack], over link: LinkSummary) {
        self.packs = packs
        seconds = packs.reduce(0) { $0 + link.seconds(for: Double($1.size)).mean }
    }

    package var bytes: UInt64 { packs.reduce(0) { $0 + $1.size } }

    /// Below so many packs one in their place saves little: they were made within a minute of each other.
    static let packsMin = 20
    /// Below that nobody would wait for less.
    static let secondsMin = 2.0
    /// Of what the plan takes, that it waits for a better one.
    static let waitingShare = 0.2
    /// Merging takes a second or more of a busy device, and no one else may come.
    static let waiting = 2.0...30.0

    /// How long one pack in place of all these is worth waiting for, in seconds; nil if it isn't.
    package var patience: Double? {
        guard packs.count >= Self.packsMin, seconds >= Self.secondsMin else { return nil }
        return min(max(seconds * Self.waitingShare, Self.waiting.lowerBound), Self.waiting.upperBound)
    }

    /// As in "fetching 612 packs".
    package var packsInWords: String { packs.count == 1 ? "one pack" : "\(packs.count) packs" }
}

/// Who merges packs for a device that has fallen behind, and when that is worth its bytes.
package enum MergeDuty {
    /// A device that is served again sooner has found no use for the span.
    package static let rest = Duration.seconds(60)

    /// Whether it is `me`.
    /// - Parameters:
    ///   - mirrors: those that are present and follow.
    ///   - holder: the active device.
    package static func isMine(_ me: DeviceID, mirrors: [DeviceID], holder: DeviceID?) -> Bool {
        guard let first = mirrors.min(by: { $0.rawValue < $1.rawValue }) else { return holder == me }
        return first == me
    }

    /// Whether a merged pack comes sooner than the packs of the route do.
    /// - Parameters:
    ///   - merged: bytes that are sent, and fetched by the other device.
    ///   - route: that the other device fetches otherwise.
    ///   - up: from here to the server.
    ///   - down: from the server to the other device.
    package static func isWorth(merged: UInt64, route: [OutlinePack], up: LinkSummary, down: LinkSummary) -> Bool {
        let instead = CatchUpPlan(route, over: down).seconds
        return up.seconds(for: Double(merged)).mean + down.seconds(for: Double(merged)).mean < instead
    }
}
