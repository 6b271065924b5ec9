import Foundation
import Logging
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// Makes the spans of a VM, beside the one task that everything else of it is done in: they are for those who come later, and
/// nothing waits for them. (docs/protocol/history.md, "Spans")
actor SpanMaker {
    private let vm: VMID
    private let folder: HistoryFolder
    private let client: SyncClient
    private let account: Account
    private let reader: HistoryReader
    private let logger: Logger
    private var outline = HistoryOutline()
    private var isBusy = false

    /// A link that carries so many bytes a second isn't bothered by spans.
    private static let fastLink = 1e6
    /// Of what a slower one could carry meanwhile, this part may go into spans.
    private static let linkShare = 0.1
    /// Merged packs have been seen to take as little as this of what they took one by one.
    private static let mergedShare = 0.1
    /// Packs that are fetched for the sake of one span: those that another device has made since it was the active one.
    private static let fetchedMax = 3 * Int(SpanLadder.width)
    /// zstd's level: a span is made once and fetched seldom, on a device on which a guest runs.
    private static let level: Int32 = 3

    init(
        vm: VMID, folder: HistoryFolder, client: SyncClient, account: Account, reader: HistoryReader, logger: Logger
    ) {
        self.vm = vm
        self.folder = folder
        self.client = client
        self.account = account
        self.reader = reader
        self.logger = logger
    }

    /// Makes what is due at a checkpoint that this device has committed. What can't be made is left out.
    /// - Parameters:
    ///   - end: is kept in the folder.
    ///   - goodput: bytes that the link carries in a second; nil if that isn't known.
    ///   - interval: seconds between two checkpoints.
    ///   - bytesMax: that may be fetched and sent.
    func make(to end: Sequence, goodput: Double?, interval: Double, bytesMax: Double) async {
        guard !isBusy else { return }
        isBusy = true
        defer { isBusy = false }
        var isStale = false
        do {
            try await refreshOutline()
            for due in outline.dueSpans(to: end) {
                let seconds = Double(end.rawValue - due.first.rawValue) * interval
                let isSlow = goodput ?? .infinity < Self.fastLink
                let share = isSlow ? (goodput ?? 0) * seconds * Self.linkShare : .infinity
                try await make(due, budget: min(share, bytesMax))
            }
        } catch {
            // It may have been pruned meanwhile.
            isStale = true
            logger.warning("no span to checkpoint \(end): \(VMSyncError(error).message)")
        }
        dropWhatIsOld()
        if isStale { outline = HistoryOutline() }
    }

    private func refreshOutline() async throws {
        if outline.head == nil {
            outline = try await reader.outline()
        } else {
            outline.append(try await client.history(of: vm, after: outline.head?.sequence ?? .base))
            if !outline.isConsistent { outline = try await reader.outline() }
        }
    }

    /// Makes one pack in place of many for a device that asks for it. (docs/protocol/catch-up.md)
    /// - Parameters:
    ///   - wanted: from the state of that device to the one that is kept in the folder.
    ///   - up: from here to the server.
    ///   - down: from the server to that device.
    ///   - bytesMax: that may be fetched and sent.
    func merge(_ wanted: PackID, up: LinkSummary, down: LinkSummary, bytesMax: Double) async {
        guard !isBusy else { return }
        isBusy = true
        defer { isBusy = false }
        do {
            try await refreshOutline()
            guard outline.pack(wanted) == nil, let route = outline.route(to: wanted.last, from: [wanted.first]),
                route.count > 1
            else { return }
            let first = try await begin(of: wanted)
            let limit = SpanLimit(bytes: bytesMax) { [outline] merged in
                MergeDuty.isWorth(merged: merged, route: route.compactMap { outline.pack($0) }, up: up, down: down)
            }
            try await make(wanted, of: route, from: first, limit)
        } catch {
            outline = HistoryOutline()
            logger.warning("no pack \(wanted) for a device that asks for it: \(VMSyncError(error).message)")
        }
    }

    /// The place of a state in the chain, from which the chain leads on to the end that is kept here.
    private func begin(of span: PackID) async throws -> Beginning {
        guard span.first != .base else { return Beginning(point: nil, deviceState: []) }
        if let kept = folder.end(span.first) { return Beginning(point: kept.end.point, deviceState: kept.deviceState) }
        let first = try await reader.following(Chain(vm: vm), to: span.first)
        let last = try await reader.following(first, to: span.last)
        guard let point = first.point, last.point == folder.end(span.last)?.end.point else {
            throw VMSyncError(.corrupt, "checkpoint \(span.last) doesn't follow checkpoint \(span.first)")
        }
        // Without its device state that of the end is sent whole.
        return Beginning(point: point, deviceState: [])
    }

    /// Where a span begins.
    private struct Beginning {
        /// Nil for the base.
        let point: ChainPoint?
        let deviceState: [UInt8]
    }

    /// What a span may cost.
    private struct SpanLimit {
        /// That may be fetched and sent for it.
        let bytes: Double
        /// Whether a span of so many bytes is worth being sent.
        let allows: (UInt64) -> Bool
    }

    /// - Parameter budget: bytes that may be fetched and sent for it.
    private func make(_ due: PackID, budget: Double) async throws {
        // The span of the rung below may have been left out.
        guard let route = outline.route(to: due.last, from: [due.first]) else { return }
        let first = due.first == .base ? nil : folder.end(due.first)
        guard first != nil || due.first == .base else {
            return logger.debug("no span \(due): its beginning isn't known here")
        }
        try await make(
            due, of: route, from: Beginning(point: first?.end.point, deviceState: first?.deviceState ?? []),
            SpanLimit(bytes: budget) { _ in true })
    }

    private func make(_ span: PackID, of route: [PackID], from first: Beginning, _ limit: SpanLimit) async throws {
        guard let last = folder.end(span.last) else { throw VMSyncError(.notFound, "its end isn't known here") }
        let missing = route.filter { !folder.has($0) }
        let rest = limit.bytes - Double(outline.bytes(of: missing))
        guard Double(outline.bytes(of: route)) * Self.mergedShare <= rest, missing.count <= Self.fetchedMax else {
            return logger.info("no span \(span): it would take too much of the link")
        }
        try await fetch(missing)
        let plain = "\(folder.path)/\(span).new"
        defer { AtomicFile.remove(plain) }
        let key = try account.newestKey(of: .vm(vm))
        let written = try await LongWork.pool.runIfActive { [vm, folder, parentState = first.deviceState] in
            try Self.merge(route, folder, state: last.deviceState, parentState: parentState, into: plain)
            try Self.tryOut(plain, parentState: parentState)
            return try PackCipher.encrypt(plain, into: plain + ".encrypted", key, .span(vm, span.first, span.last))
        }
        defer { AtomicFile.remove(plain + ".encrypted") }
        guard Double(written.size) <= rest, limit.allows(written.size) else {
            return logger.info("no span \(span): with \(written.size) bytes it would take too much of the link")
        }
        let link = SpanLink(
            vm: vm, device: account.keys.id, first: first.point, last: last.end.point, size: written.size,
            checksum: written.checksum)
        let offer = SpanOffer(
            id: span, size: written.size, checksum: written.checksum, link: try Signed(link, by: account.keys).bytes)
        let added = try await client.add(offer, to: vm, pack: .file(path: plain + ".encrypted"))
        outline.insert(OutlinePack(added.id, size: added.size, isSpan: true))
        // The next one is merged of it.
        if rename(plain, folder.packPath(span)) != 0 { logger.debug("span \(span) isn't kept here") }
        logger.info("made span \(span)", metadata: ["bytes": "\(written.size)", "packs": "\(route.count)"])
    }

    /// Fetches packs that aren't here. What they say is signed over, so each must be what a device has said.
    private func fetch(_ missing: [PackID]) async throws {
        var chain = Chain(vm: vm)
        for id in missing {
            let believed = try await reader.believe(id, after: chain)
            chain = believed.chain
            let path = folder.packPath(id)
            let fetched = try await reader.fetch(believed, to: path + ".encrypted")
            try await LongWork.pool.runIfActive {
                try fetched.decrypt(into: path + ".new")
                guard rename(path + ".new", path) == 0 else { throw VMSyncError.system("rename", path: path) }
            }
        }
    }

    private static func merge(
        _ packs: [PackID], _ folder: HistoryFolder, state: [UInt8], parentState: [UInt8],
        into path: String
    ) throws(VMSyncError) {
        let route = RouteMerge(pages: try PageFile(in: folder.path))
        for id in packs {
            do throws(VMSyncError) {
                try MappedFile.with(folder.packPath(id)) { pack throws(VMSyncError) in
                    try route.append(pack, followsState: false)
                }
            } catch {
                // A power loss may have left a part; the next time it is fetched.
                AtomicFile.remove(folder.packPath(id))
                throw error
            }
        }
        let workspace = PackWorkspace()
        workspace.level = { _ in level }
        let file = try PackFile(path: path)
        try route.writeSpan(deviceState: state, over: parentState, workspace, into: file.write)
    }

    /// What is signed must be whole: a power loss may have left a torn device state.
    private static func tryOut(_ span: String, parentState: [UInt8]) throws(VMSyncError) {
        try MappedFile.with(span) { bytes throws(VMSyncError) in
            let reader = try PackReader(bytes)
            try (reader.manifest.isKeyframe ? [] : parentState).withRawBytes { state throws(VMSyncError) in
                _ = try reader.validate(parentDeviceState: state)
            }
        }
    }

    /// A span may begin at the ends of those that are there, the newest ones of each rung, and is merged of those that begin
    /// there.
    private func dropWhatIsOld() {
        guard let head = outline.head else { return }
        let spans = outline.packs.filter(\.isSpan).map(\.id)
        let ends = Set(spans.map(\.last)).sorted()
        let needed = SpanLadder.beginnings(after: head.sequence, among: ends).union([head.sequence])
        folder.keepEnds(needed)
        let oldest = needed.min() ?? .base
        folder.keepPacks(after: ends.last ?? .base, Set(spans.filter { $0.first >= oldest || $0.first == .base }))
    }
}
