/// What the host lives on.
package struct HostPower: Sendable, Hashable {
    package enum Source: Sendable, Hashable {
        case mains
        case battery
    }

    package let source: Source
    /// 0...1 of what all batteries of the host hold when they are full; nil without a battery that says it.
    package let level: Double?

    package init(source: Source, level: Double?) {
        self.source = source
        self.level = level
    }

    /// The level in whole percent: what is worth telling.
    var percent: Int? { level.map { Int(($0 * 100).rounded()) } }
}
