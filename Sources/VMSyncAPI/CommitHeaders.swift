import Foundation
import VMSyncCore
import VMSyncPolicy

/// What travels in the headers of a commit, whose body is the pack, or the list of its chunks.
package enum CommitHeaders {
    package static let epoch = "Vmsync-Epoch"
    package static let sequence = "Vmsync-Sequence"
    package static let parent = "Vmsync-Parent"
    package static let basis = "Vmsync-Basis"
    package static let checksum = "Vmsync-Checksum"
    package static let kind = "Vmsync-Kind"
    /// What the device has signed of the checkpoint, in base 64.
    package static let statement = "Vmsync-Statement"
    package static let then = "Vmsync-Then"
    /// The pack's bytes, if the body is a list of its chunks.
    package static let size = "Vmsync-Size"

    /// The headers of `offer`.
    static func fields(of offer: CommitOffer, inChunks: Bool) -> [(String, String)] {
        var fields = [
            (epoch, offer.epoch.description), (sequence, offer.sequence.description),
            (parent, offer.parent.description), (checksum, offer.checksum.rawValue), (kind, offer.kind.rawValue),
            (then, text(of: offer.then)),
        ]
        if offer.basis != offer.parent { fields.append((basis, offer.basis.description)) }
        if !offer.statement.isEmpty { fields.append((statement, offer.statement.base64EncodedString())) }
        if inChunks { fields.append((size, "\(offer.size)")) }
        return fields
    }

    /// The offer of a commit with these headers, whose pack has `size` bytes.
    /// - Throws: `invalidInput`, naming the header.
    package static func offer(size: UInt64, header: (String) -> String?) throws(VMSyncError) -> CommitOffer {
        CommitOffer(
            epoch: Epoch(rawValue: try parse(epoch, header, UInt64.init)),
            sequence: Sequence(rawValue: try parse(sequence, header, UInt64.init)),
            parent: Sequence(rawValue: try parse(parent, header, UInt64.init)),
            basis: Sequence(rawValue: try parse(basis, { header($0) ?? header(parent) }, UInt64.init)),
            kind: try parse(kind, header, CheckpointKind.init(rawValue:)), size: size,
            checksum: try parse(checksum, header, ContentHash.init(rawValue:)),
            statement: try parse(statement, { header($0) ?? "" }, checkedStatement),
            then: try parse(then, { header($0) ?? "keep" }, afterCommit))
    }

    /// The bytes of a pack that comes as a list of chunks; nil if it comes itself.
    /// - Throws: `invalidInput`.
    package static func sizeInChunks(_ header: (String) -> String?) throws(VMSyncError) -> UInt64? {
        guard header(size) != nil else { return nil }
        let bytes = try parse(size, header, UInt64.init)
        guard bytes <= APILimits.packBytesMax else {
            throw VMSyncError(.invalidInput, "a pack has at most \(APILimits.packBytesMax) bytes")
        }
        return bytes
    }

    // MARK: Spans

    /// What a device has signed of a span, in base 64.
    package static let link = "Vmsync-Link"

    static func fields(of offer: SpanOffer, inChunks: Bool) -> [(String, String)] {
        var fields = [(checksum, offer.checksum.rawValue), (link, offer.link.base64EncodedString())]
        if inChunks { fields.append((size, "\(offer.size)")) }
        return fields
    }

    /// The offer of a span with these headers, which has `size` bytes.
    /// - Throws: `invalidInput`, naming the header.
    package static func span(
        _ id: PackID, size: UInt64, header: (String) -> String?
    ) throws(VMSyncError) -> SpanOffer {
        SpanOffer(
            id: id, size: size, checksum: try parse(checksum, header, ContentHash.init(rawValue:)),
            link: try parse(link, header, checkedStatement))
    }

    private static func parse<Value>(
        _ name: String, _ header: (String) -> String?, _ parse: (String) -> Value?
    ) throws(VMSyncError) -> Value {
        guard let text = header(name) else { throw VMSyncError(.invalidInput, "header \(name) is missing") }
        guard let value = parse(text) else {
            throw VMSyncError(.invalidInput, "header \(name) can't be \"\(text.prefix(80))\"")
        }
        return value
    }

    private static func checkedStatement(_ text: String) -> Data? {
        guard text.utf8.count <= APILimits.statementBytesMax / 3 * 4 else { return nil }
        return Data(base64Encoded: text)
    }

    private static func text(of then: AfterCommit) -> String {
        switch then {
        case .keep: "keep"
        case .release: "release"
        case .move(let id): "switch=\(id)"
        }
    }

    private static func afterCommit(_ text: String) -> AfterCommit? {
        switch text {
        case "keep": return .keep
        case "release": return .release
        default:
            let halves = text.split(separator: "=", maxSplits: 1)
            guard halves.count == 2, halves[0] == "switch" else { return nil }
            return SwitchID(rawValue: String(halves[1])).map(AfterCommit.move)
        }
    }
}
