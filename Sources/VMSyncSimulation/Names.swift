import VMSyncCore
import VMSyncPolicy

/// Names as the pure code wants them, of the small numbers that the simulation uses. Made once: they are strings.
enum Names {
    static let devicesMax = 4
    static let vm = VMID(rawValue: String(repeating: "0", count: Identifier.length)) ?? .random()
    static let devices = (0..<devicesMax).map { index in
        DeviceID(digest: (0..<32).map { $0 == 0 ? UInt8(index + 1) : 0 })
    }
    /// More than any history has; a history that has more begins again at the first.
    private static let switches = (0..<256).compactMap { SwitchID(rawValue: identifier($0)) }
    private static let hashes = (0..<4096).map { number in
        ContentHash(digest: (0..<32).map { $0 < 2 ? UInt8(truncatingIfNeeded: number >> ($0 * 8)) : 0 })
    }

    static func switchID(_ number: Int32) -> SwitchID { switches[Int(number) % switches.count] }
    static func number(of id: SwitchID) -> Int32 { Int32(id.rawValue) ?? 0 }
    static func hash(ofCheckpoint number: Int32) -> ContentHash { hashes[Int(number) % hashes.count] }
    static func index(of device: DeviceID) -> Int { devices.firstIndex(of: device) ?? -1 }

    private static func identifier(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: Identifier.length - text.count) + text
    }
}
