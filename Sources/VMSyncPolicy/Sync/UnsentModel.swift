import Foundation

/// What the pages and blocks that were written will take in a pack, by looks at them and by what became of earlier ones.
///
/// A look encodes a sample; what is left of a whole pack, with its references and the device state, differs from it by a
/// factor that changes with what the guest does.
package struct UnsentModel: Sendable {
    /// Bytes of a pack besides its units: manifest, and what changed in the devices' state.
    private static let usualRest = 600.0
    /// After so many seconds a burst counts half: what a person does changes within a minute.
    private static let burstHalfLife = 20.0

    /// Bytes of a pack per byte of the last look before it.
    private var factor = Average()
    private var growth = Average()
    private var lastLook: (bytes: Double, at: Double)?
    /// Bytes a second between the last two looks.
    package private(set) var lastGrowth = 0.0
    /// The most bytes that were written between two looks, lately.
    package private(set) var burst = 0.0

    package init() {}

    /// - Parameters:
    ///   - bytes: what a look found, all that was written since the last checkpoint.
    ///   - now: in seconds, by any clock that doesn't jump.
    package mutating func noteLook(_ bytes: Double, at now: Double) {
        if let lastLook, now > lastLook.at {
            let (written, passed) = (max(0, bytes - lastLook.bytes) * (factor.estimate?.mean ?? 1), now - lastLook.at)
            lastGrowth = written / passed
            growth.note(lastGrowth)
            burst = max(written, burst * pow(0.5, passed / Self.burstHalfLife))
        }
        lastLook = (bytes, now)
    }

    /// A pack of `bytes` was made of what the last look found. From here on nothing is written.
    package mutating func notePack(_ bytes: Int, at now: Double) {
        if let lastLook, lastLook.bytes > 0 {
            factor.note(max(0, Double(bytes) - Self.usualRest) / lastLook.bytes)
        }
        lastLook = (0, now)
    }

    /// What was written since the last pack will take; nil before the first look.
    package var written: Estimate? {
        guard let lastLook else { return nil }
        let factor = factor.estimate ?? Estimate(1, deviation: 0.5)
        return Estimate(Self.usualRest + factor.mean * lastLook.bytes, deviation: factor.deviation * lastLook.bytes)
    }

    /// Bytes a second by which `written` grows.
    package var growthPerSecond: Estimate { growth.estimate ?? Estimate(0) }
}
