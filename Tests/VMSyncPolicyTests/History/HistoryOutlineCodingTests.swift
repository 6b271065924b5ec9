import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy

/// The outline as it travels. (docs/protocol/sync-api.md, "History")
@Suite struct HistoryOutlineCodingTests {
    private static let devices = [DeviceID.random(), DeviceID.random()]

    private static func checkpoint(
        _ number: UInt64, parent: UInt64, basis: UInt64, at time: Int64, by device: Int = 0, off: Bool = false,
        forgotten: Bool = false, picture: Bool = false, tag: Data? = nil
    ) -> OutlineCheckpoint {
        OutlineCheckpoint(
            sequence: Sequence(rawValue: number), parent: Sequence(rawValue: parent), basis: Sequence(rawValue: basis),
            kind: off ? .off : .live, device: devices[device], created: Timestamp(rawValue: time),
            isForgotten: forgotten, hasThumbnail: picture, tag: tag)
    }

    private static func pack(_ first: UInt64, _ last: UInt64, size: UInt64, span: Bool = false) -> OutlinePack {
        OutlinePack(
            PackID(Sequence(rawValue: first), Sequence(rawValue: last)), size: size, isSpan: span)
    }

    private static let outline = HistoryOutline(
        checkpoints: [
            checkpoint(1, parent: 0, basis: 0, at: 1_700_000_000_000),
            checkpoint(2, parent: 1, basis: 1, at: 1_700_000_001_000, by: 1, picture: true),
            // The server's clock was set back, and numbers were left out.
            checkpoint(7, parent: 2, basis: 2, at: 1_699_000_000_000, forgotten: true, tag: Data([1, 2])),
            checkpoint(8, parent: 7, basis: 1, at: 1_700_000_002_000, off: true),
        ],
        packs: [
            pack(0, 1, size: 5), pack(1, 2, size: .max), pack(0, 7, size: 9, span: true), pack(2, 7, size: 1),
            pack(1, 8, size: 0),
        ])

    @Test func itComesBackAsItWas() throws {
        let json = try JSONEncoder().encode(Self.outline)
        #expect(try JSONDecoder().decode(HistoryOutline.self, from: json) == Self.outline)
        let empty = try JSONEncoder().encode(HistoryOutline())
        #expect(try JSONDecoder().decode(HistoryOutline.self, from: empty) == HistoryOutline())
    }

    @Test func itIsWhatTheProtocolSays() throws {
        let device = "\(Self.devices[0])"
        let json = """
            {"devices": ["\(device)"], "checkpoints": [[1, 1700000000000, 0, 0], [3, 5, 0, 7, 1, 0]], "tags": {"3": "AQI="},
            "packs": [[0, 1, 5], [0, 3, 6, 1]]}
            """
        let read = try JSONDecoder().decode(HistoryOutline.self, from: Data(json.utf8))
        #expect(
            read
                == HistoryOutline(
                    checkpoints: [
                        Self.checkpoint(1, parent: 0, basis: 0, at: 1_700_000_000_000),
                        Self.checkpoint(
                            3, parent: 1, basis: 0, at: 1_700_000_000_005, off: true, forgotten: true, picture: true,
                            tag: Data([1, 2])),
                    ],
                    packs: [Self.pack(0, 1, size: 5), Self.pack(0, 3, size: 6, span: true)]))
    }

    @Test(arguments: [
        "[0, 0, 0, 0]", "[-1, 0, 0, 0]", "[1, 0, 1, 0]", "[1, 0, -1, 0]", "[1, 0, 0, 8]", "[1, 0, 0, -1]", "[1, 0, 0]",
        "[1, 0, 0, 0, 0]", "[1, 0, 0, 0, -1, 0]", "[1, 9223372036854775807, 0, 0], [2, 1, 0, 0]",
    ])
    func aRowThatIsNoCheckpointIsRefused(row: String) {
        let json = """
            {"devices": ["\(Self.devices[0])"], "checkpoints": [\(row)], "tags": {}, "packs": []}
            """
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(HistoryOutline.self, from: Data(json.utf8))
        }
    }

    @Test(arguments: ["[0, 1]", "[0, 1, 2, 0]", "[0, 1, 2, 1, 1]", "[-1, 1, 2]"])
    func aRowThatIsNoPackIsRefused(row: String) {
        let json = """
            {"devices": [], "checkpoints": [], "tags": {}, "packs": [\(row)]}
            """
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(HistoryOutline.self, from: Data(json.utf8))
        }
    }
}
