import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

/// What a device keeps of a VM's latest history, so that a span needn't be fetched to be made: its own packs as they were
/// sealed, and the device states at the ends of spans. All of it may go at any time; then a span is missing, or a pack is
/// fetched.
struct HistoryFolder: Sendable {
    let path: String

    /// Packs that are kept: those of some blocks of the lowest rung, where spans were missing.
    private static let packsMax = 10 * Int(SpanLadder.width)
    /// Bytes of packs that are kept.
    private static let packBytesMax: UInt64 = 1 << 30

    init(_ path: String) throws(VMSyncError) {
        self.path = path
        try AtomicFile.makeFolder(path)
    }

    // MARK: Packs

    func packPath(_ id: PackID) -> String { "\(path)/\(id).pack" }

    /// Moves a pack here that the server has.
    /// - Throws: `io`; it is only a copy then that is missing.
    func keep(_ id: PackID, from source: String) throws(VMSyncError) {
        guard rename(source, packPath(id)) == 0 else { throw .system("rename", path: packPath(id)) }
    }

    /// Keeps a pack that is used elsewhere too.
    /// - Throws: `io`, as above.
    func link(_ id: PackID, to source: String) throws(VMSyncError) {
        guard !has(id) else { return }
        do {
            try FileManager.default.linkItem(atPath: source, toPath: packPath(id))
        } catch {
            throw VMSyncError(.io, "\(packPath(id)): \(error.localizedDescription)")
        }
    }

    /// Drops the packs that no span is merged of any more, but for what is to come: those that end at or before `end` and
    /// aren't `needed`. Of what is too much the oldest go too.
    func keepPacks(after end: Sequence, _ needed: Set<PackID>) {
        var kept = packs
        var bytes = kept.reduce(0) { $0 + (PackCipher.size(of: packPath($1)) ?? 0) }
        for pack in kept {
            let isTooMuch = kept.count > Self.packsMax || bytes > Self.packBytesMax
            guard isTooMuch || pack.last <= end && !needed.contains(pack) else { continue }
            bytes -= min(bytes, PackCipher.size(of: packPath(pack)) ?? 0)
            AtomicFile.remove(packPath(pack))
            kept.removeAll { $0 == pack }
        }
    }

    func has(_ id: PackID) -> Bool { FileManager.default.fileExists(atPath: packPath(id)) }

    private var packs: [PackID] {
        names.compactMap { name in
            let ends = name.split(separator: ".")[0].split(separator: "-").compactMap { UInt64($0) }
            guard name.hasSuffix(".pack"), ends.count == 2 else { return nil }
            return PackID(Sequence(rawValue: ends[0]), Sequence(rawValue: ends[1]))
        }.sorted()
    }

    private var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }

    // MARK: Ends of spans

    /// A state that spans begin or end at, as this device has known it.
    struct End: Codable, Sendable {
        let point: ChainPoint
        /// False if the VM was off, and there is no device state.
        let isLive: Bool
    }

    private func endPath(_ sequence: Sequence) -> String { "\(path)/\(sequence).end" }
    private func statePath(_ sequence: Sequence) -> String { "\(path)/\(sequence).state" }

    /// - Parameter deviceState: empty if the VM is off.
    func keep(_ point: ChainPoint, deviceState: [UInt8]) throws(VMSyncError) {
        if !deviceState.isEmpty { try AtomicFile.write(bytes: deviceState, to: statePath(point.sequence)) }
        try AtomicFile.write(End(point: point, isLive: !deviceState.isEmpty), to: endPath(point.sequence))
    }

    /// What was kept of a state; nil if it wasn't, or is gone.
    func end(_ sequence: Sequence) -> (end: End, deviceState: [UInt8])? {
        guard let end = AtomicFile.readIfWhole(End.self, at: endPath(sequence), torn: { _ in }) else { return nil }
        guard end.isLive else { return (end, []) }
        guard let state = try? MappedFile.with(statePath(sequence), { Array($0) }) else { return nil }
        return (end, state)
    }

    /// Drops all ends at which no span will begin.
    func keepBeginnings() {
        let ends = ends
        guard let newest = ends.last else { return }
        keepEnds(SpanLadder.beginnings(after: newest, among: ends))
    }

    /// In rising order.
    private var ends: [Sequence] {
        names.filter { $0.hasSuffix(".end") }.compactMap { UInt64($0.dropLast(".end".count)) }.sorted()
            .map(Sequence.init)
    }

    /// Drops what an earlier daemon was in the middle of.
    func tidy() {
        for name in names where [".new", ".encrypted"].contains(where: name.hasSuffix) {
            AtomicFile.remove("\(path)/\(name)")
        }
    }

    /// Drops all ends but these.
    func keepEnds(_ needed: Set<Sequence>) {
        for sequence in ends where !needed.contains(sequence) {
            AtomicFile.remove(endPath(sequence))
            AtomicFile.remove(statePath(sequence))
        }
    }
}
