/// The version of a QEMU, as it says itself in its greeting and to `query-version`.
package struct QMPVersion: Sendable, Hashable, Decodable {
    /// `major.minor` is the release, `micro` counts its fixes.
    package let major: Int
    package let minor: Int
    package let micro: Int
    /// Who packaged it, such as `Debian 1:7.2+dfsg-7+deb12u18`; may be empty.
    package let packager: String

    private enum Key: String, CodingKey {
        case qemu
        case packager = "package"
    }

    private struct Triple: Decodable {
        let major: Int
        let minor: Int
        let micro: Int
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let triple = try container.decode(Triple.self, forKey: .qemu)
        (major, minor, micro) = (triple.major, triple.minor, triple.micro)
        packager = try container.decode(String.self, forKey: .packager)
    }
}

extension QMPVersion: CustomStringConvertible {
    /// The three numbers, such as `7.2.22`.
    package var description: String { "\(major).\(minor).\(micro)" }
}
