/// A pack on its way to the server. Over a slow link it may be that for many minutes, and what is known of it by then says more
/// of the link than all that were before.
package struct OpenTransfer: Sendable {
    /// What the kernel takes of a pack before the link does, and what else goes over the device's connections meanwhile.
    private static let ahead = 192 << 10
    /// Before as much is on the other side, it says nothing.
    private static let telling = 64 << 10

    private let size: Int
    /// In seconds, by a clock that doesn't jump.
    private let began: Double
    private let shown: UInt64

    /// - Parameters:
    ///   - size: of the pack, in bytes.
    ///   - shown: bytes that a meter of all connections shows.
    package init(of size: Int, at began: Double, meter shown: UInt64) {
        self.size = size
        self.began = began
        self.shown = shown
    }

    /// Bytes that are on the other side, or nearly so.
    package func gone(meter now: UInt64) -> Int {
        min(size, max(0, Int(clamping: now > shown ? now - shown : 0) - Self.ahead))
    }

    /// What is known of the link with what has gone, where that is enough to tell.
    package func model(_ known: TransferModel, at now: Double, meter: UInt64) -> TransferModel {
        let (gone, seconds) = (gone(meter: meter), now - began)
        // What may have gone without telling: not more has in this time.
        let most = min(size, Self.telling + Self.ahead)
        var model = known
        if gone >= Self.telling {
            model.note(bytes: gone, seconds: seconds)
        } else if seconds > known.link.seconds(for: Double(most)).high {
            model.note(bytes: most, seconds: seconds)
        }
        return model
    }
}
