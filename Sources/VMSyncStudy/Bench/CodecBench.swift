import Crypto
import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncReplica

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// How fast pages are encoded and read again, beside what a processor can do to the same bytes: on the pages that a
/// desktop writes when it opens a browser.
package struct CodecBench: Sendable {
    package var guest: DesktopGuest
    package var rounds = 7
    /// How often the browser is opened. One opening is sealed in a third of a second, which is too short to be a figure.
    package var openings = 3
    package var seed: UInt64 = 1
    let say: @Sendable (String) -> Void

    package init(guest: DesktopGuest, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.say = say
    }

    package func run() async throws -> CodecBenchReport {
        let (pages, sealing) = try await BenchDesk.with(guest, say: say) { desk in
            let account = try await desk.machine.makeAccount(folder: desk.folder)
            await desk.machine.linkIsFast()
            try await desk.machine.settle(account)
            var speeds: [Double] = []
            for opening in 1...openings {
                say("codec: opening the browser, \(opening) of \(openings)")
                speeds.append(try await openBrowser(desk, account, keepsPages: opening == openings))
            }
            return (account.pages, speeds)
        }
        guard pages.count > 0 else { throw VMSyncError(.machine, "the browser wrote no page") }
        say("codec: \(ByteCount(pages.new.count)) of pages, \(rounds) rounds")
        return try measure(pages, sealing: sealing)
    }

    /// - Returns: MB of written pages that were sealed per second of one processor.
    private func openBrowser(
        _ desk: BenchDesk, _ account: SessionAccount, keepsPages: Bool
    ) async throws -> Double {
        var session = try DesktopSession.named("browser", seed: seed, packages: guest.packages)
        try await session.prepare(on: desk.desk)
        // What preparing wrote doesn't count.
        _ = try await desk.machine.checkpoint(account)
        account.keepsPages = keepsPages
        let runner = SessionRunner(session)
        let series = try await CheckpointSeries.make(of: desk.machine, every: .seconds(1), account) {
            try await runner.run(on: desk.desk, for: .seconds(10))
        }
        return series.encodeSpeed / 1e6
    }

    /// Each step in turn, round by round, on one thread.
    private func measure(_ pages: WrittenPages, sealing: [Double]) throws -> CodecBenchReport {
        var report = CodecBenchReport(bytes: pages.new.count, rounds: rounds, sealing: sealing)
        for _ in 0..<rounds {
            for step in CodecStep.allCases {
                report.speeds[step.rawValue, default: []].append(try step.speed(on: pages))
            }
        }
        return report
    }
}

/// What `CodecBench` found out.
package struct CodecBenchReport: Sendable, Codable {
    /// How much was taken in.
    package var bytes: Int
    package var rounds: Int
    /// MB of written pages per second of one processor, by the checkpoints of the session themselves: with hashes,
    /// search, device state, and all that is written to files. For each time that the browser was opened.
    package var sealing: [Double]
    /// By step, MB taken in per second of one processor, in each round.
    package var speeds: [String: [Double]] = [:]

    package var medianSealing: Double { sealing.sorted().percentile(50) ?? 0 }

    package func median(_ step: String) -> Double { (speeds[step] ?? []).sorted().percentile(50) ?? 0 }
}

/// Pages that a guest wrote, as they were and as they are now, one behind the other.
struct WrittenPages: Sendable {
    var indices: [Int] = []
    var old: [UInt8] = []
    var new: [UInt8] = []

    var count: Int { indices.count }

    mutating func add(_ index: Int, _ new: UnsafeRawBufferPointer, old: UnsafeRawBufferPointer) {
        indices.append(index)
        self.old.append(contentsOf: old)
        self.new.append(contentsOf: new)
    }
}

/// What is done to the pages.
enum CodecStep: String, Sendable, CaseIterable {
    case copy = "memcpy"
    case compare = "memcmp"
    case hash = "XXH3, 128 bits"
    case compress = "zstd -1"
    case encrypt = "AES-256-GCM"
    case encode = "encode, all pages against their last version"
    case decode = "read and check the pack"

    /// MB of pages per second of this thread.
    func speed(on pages: WrittenPages) throws -> Double {
        let prepared = try Prepared(self, pages)
        let start = ProcessorTime.ofThisThread
        try prepared.run(pages)
        let seconds = ProcessorTime.ofThisThread - start
        return Double(pages.new.count) / seconds / 1e6
    }

    /// What a step needs that isn't measured.
    private final class Prepared {
        private let step: CodecStep
        private var target: [UInt8] = []
        private var pack: [UInt8] = []
        private let workspace = PackWorkspace()
        private let compressor = ZstdCompressor()
        private let key = SymmetricKey(size: .bits256)

        init(_ step: CodecStep, _ pages: WrittenPages) throws {
            self.step = step
            switch step {
            case .copy: target = [UInt8](repeating: 1, count: pages.new.count)
            case .compare: target = pages.new
            case .decode: pack = try encoded(pages)
            case .hash, .compress, .encrypt, .encode: break
            }
        }

        func run(_ pages: WrittenPages) throws {
            switch step {
            case .copy:
                pages.new.withRawBytes { new in
                    target.withUnsafeMutableBytes { $0.copyMemory(from: new) }
                }
            case .compare:
                guard pages.new.withRawBytes({ new in target.withRawBytes { new.holdsSame(as: $0) } }) else {
                    throw VMSyncError(.bug, "a copy differs")
                }
            case .hash:
                var sum: UInt128 = 0
                try pages.new.withRawBytes { new in
                    for offset in stride(from: 0, to: new.count, by: Unit.size) {
                        sum &+= UnitHash.block(UnsafeRawBufferPointer(rebasing: new[offset..<offset + Unit.size])).value
                    }
                    guard sum != 0 else { throw VMSyncError(.bug, "no page has a hash") }
                }
            case .compress:
                try pages.new.withRawBytes { new throws(VMSyncError) in
                    for offset in stride(from: 0, to: new.count, by: Limits.sectionTarget) {
                        let end = min(new.count, offset + Limits.sectionTarget)
                        let section = UnsafeRawBufferPointer(rebasing: new[offset..<end])
                        target.removeAll(keepingCapacity: true)
                        _ = try compressor.append(section, to: &target)
                    }
                }
            case .encrypt:
                for offset in stride(from: 0, to: pages.new.count, by: Limits.sectionTarget) {
                    let end = min(pages.new.count, offset + Limits.sectionTarget)
                    _ = try AES.GCM.seal(pages.new[offset..<end], using: key)
                }
            case .encode: _ = try encoded(pages)
            case .decode:
                try pack.withRawBytes { bytes throws(VMSyncError) in
                    _ = try PackReader(bytes).validate(parentDeviceState: UnsafeRawBufferPointer(start: nil, count: 0))
                }
            }
        }

        private func encoded(_ pages: WrittenPages) throws(VMSyncError) -> [UInt8] {
            var output: [UInt8] = []
            let writer = try PackWriter(workspace) { bytes throws(VMSyncError) in output.append(contentsOf: bytes) }
            let state: [UInt8] = [0]
            try writer.addDeviceState(state)
            try pages.new.withRawBytes { new throws(VMSyncError) in
                try pages.old.withRawBytes { old throws(VMSyncError) in
                    for position in pages.indices.indices {
                        let range = position * Unit.size..<(position + 1) * Unit.size
                        // A place of its own for each, in rising order: a page may have been written more than once.
                        try writer.addMemory(
                            position, UnsafeRawBufferPointer(rebasing: new[range]),
                            parent: UnsafeRawBufferPointer(rebasing: old[range]))
                    }
                }
            }
            let digest = StateDigest(
                memory: .zero, disks: [.zero], deviceState: state.withRawBytes { Hash128(of: $0) })
            let memory = UInt64((pages.count * Unit.size / (1 << 20) + 16) << 20)
            let definition = MachineDefinition(
                architecture: .x86_64, cores: 1, memory: memory, disks: [.init(size: 512)], boot: nil,
                macAddress: "52:54:00:00:00:01", generationID: "0")
            _ = try writer.finish(
                Manifest(
                    vm: .random(), sequence: Sequence.base.next, parent: .base, epoch: Epoch(rawValue: 1),
                    device: .random(), created: 0, kind: .live, definition: definition, qemu: "",
                    parentDigest: StateDigest.base(disks: 1).combined, digest: digest, deviceStateBytes: 1))
            return output
        }
    }
}
