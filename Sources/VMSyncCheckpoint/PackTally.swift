/// What a pack is made of: units by the source that gives them, and bytes before and after compression.
package struct PackTally: Sendable, Codable, Hashable {
    package var zero = 0
    package var whole = 0
    package var pixels = 0
    package var samples = 0
    /// Runs over the parent's unit.
    package var own = 0
    package var base = 0
    /// Units of the parent's memory and disks.
    package var parent = 0
    /// Units that the pack itself gives.
    package var new = 0
    package var sectionsRaw = 0
    package var sectionsStored = 0
    package var deviceStateStored = 0

    package init() {}

    mutating func count(_ source: UnitSource, _ form: PageForm) {
        switch source {
        case .zero: zero += 1
        case .whole:
            switch form {
            case .plain: whole += 1
            case .pixels: pixels += 1
            case .samples: samples += 1
            }
        case .own: own += 1
        case .base: base += 1
        case .parent: parent += 1
        case .new: new += 1
        }
    }

    /// What two packs are made of together.
    package static func + (left: PackTally, right: PackTally) -> PackTally {
        var sum = left
        for field in [
            \PackTally.zero, \.whole, \.pixels, \.samples, \.own, \.base, \.parent, \.new, \.sectionsRaw,
            \.sectionsStored,
            \.deviceStateStored,
        ] {
            sum[keyPath: field] += right[keyPath: field]
        }
        return sum
    }

    enum CodingKeys: String, CodingKey {
        case zero, whole, pixels, samples, own, base, parent, new
        case sectionsRaw = "sections_raw"
        case sectionsStored = "sections_stored"
        case deviceStateStored = "device_state_stored"
    }
}
