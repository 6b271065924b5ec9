import Foundation
import Logging
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// A device with one replica on it, and a guest that is played: it writes memory and disks as QEMU would.
final class TestDevice {
    /// The same VM for all devices, so that another process can open what this one made.
    static let vm = VMID(rawValue: "00000000000000000001")
    static let definition = MachineDefinition.sample(disks: [1 << 20, 4608])

    let paths: MachinePaths
    private let base: String
    private(set) var replica: Replica
    private var state: [UInt8] = [1, 2, 3]

    /// Opens the device in `folder`, or makes it there.
    init(_ folder: String, bootID: String = "boot-1", vm: VMID? = vm) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        base = folder + "/base.raw"
        if !FileManager.default.fileExists(atPath: base) {
            var random = SeededRandom(seed: 99)
            try Data(random.bytes(512 << 10)).write(to: URL(fileURLWithPath: base))
        }
        paths = MachinePaths(state: folder + "/state", run: folder + "/run", memory: folder + "/memory")
        replica = try Replica(
            vm: try #require(vm), definition: Self.definition, paths: paths, bases: [base, base], bootID: bootID,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        if replica.record.kind == .live, let held = try? replica.deviceState() { state = held }
    }

    /// What the running guest does between two checkpoints.
    func runGuest(_ random: inout SeededRandom, writes: Int = 30) throws {
        for _ in 0..<random.number(0..<writes + 1) { writePage(random.number(0..<replica.memory.units), &random) }
        for _ in 0..<random.number(0..<writes / 3 + 1) { try writeDisk(random.number(0..<2), &random) }
        for _ in 0..<random.number(0..<4) where !state.isEmpty {
            state[random.number(0..<state.count)] = UInt8(truncatingIfNeeded: random.next())
        }
        if random.oneIn(10) { state = random.bytes(random.number(1..<50_000)) }
    }

    private func writePage(_ index: Int, _ random: inout SeededRandom) {
        let page = replica.memory.writablePage(index)
        switch random.number(0..<5) {
        case 0: page.initializeMemory(as: UInt8.self, repeating: 0)
        case 1: page.copyBytes(from: random.bytes(Unit.size))
        case 2: page.copyBytes(from: Array(page))
        default: for _ in 0..<random.number(1..<30) { page[random.number(0..<Unit.size)] &+= 1 }
        }
    }

    private func writeDisk(_ index: Int, _ random: inout SeededRandom) throws {
        let disk = replica.overlays[index]
        let offset = random.number(0..<Int(disk.size))
        let length = random.number(1..<min(10_000, Int(disk.size) - offset) + 1)
        if random.oneIn(3) {
            try disk.zero(at: UInt64(offset), length: UInt64(length), mayTrim: random.oneIn(2))
        } else {
            try random.bytes(length).withUnsafeBytes { try disk.store($0, at: UInt64(offset)) }
        }
    }

    @discardableResult
    func checkpoint(_ kind: Manifest.Kind = .live) throws -> SealedCheckpoint {
        try seal(try replica.capture(tracker: nil), kind)
    }

    @discardableResult
    func seal(_ capture: Capture, _ kind: Manifest.Kind = .live) throws -> SealedCheckpoint {
        let header = CheckpointHeader(
            kind: kind, epoch: Epoch(rawValue: 1), device: .random(), created: 1_700_000_000, qemu: "7.2.22")
        return try replica.seal(capture, deviceState: kind == .live ? state : [], header: header)
    }

    /// Puts a pack of another device's outbox into this one's inbox.
    func fetch(_ checkpoint: SealedCheckpoint) throws {
        let pack = try Data(contentsOf: URL(fileURLWithPath: checkpoint.packPath))
        try put(pack, as: checkpoint.sequence)
    }

    func put(_ pack: Data, as sequence: Sequence) throws {
        try pack.write(to: URL(fileURLWithPath: replica.inboxPath(sequence)))
    }

    /// Brings everything that waits in the outbox to `other`.
    func send(to other: TestDevice) throws {
        for checkpoint in try replica.outbox() {
            try other.fetch(checkpoint)
            let manifest = try other.replica.applyInbox(checkpoint.sequence)
            #expect(manifest.digest.combined == checkpoint.digest)
            replica.acknowledge(checkpoint.sequence)
            other.state = try other.replica.deviceState()
        }
    }

    /// The base image, which is that of both disks.
    func baseBytes() throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: base))) }

    func readDisk(_ index: Int) throws -> [UInt8] {
        let disk = replica.overlays[index]
        var bytes = [UInt8](repeating: 0, count: Int(disk.size))
        try bytes.withUnsafeMutableBytes { try disk.load(at: 0, into: $0) }
        return bytes
    }

    /// All that a guest would see of this state.
    func content() throws -> Content {
        Content(
            memory: try Data(contentsOf: URL(fileURLWithPath: paths.ram)), disks: [try readDisk(0), try readDisk(1)],
            deviceState: try replica.deviceState(), sequence: replica.record.sequence, kind: replica.record.kind)
    }

    struct Content: Equatable {
        var memory: Data
        var disks: [[UInt8]]
        var deviceState: [UInt8]
        var sequence: Sequence
        var kind: Manifest.Kind
    }

    /// Whether the replica is exactly what its record says.
    func isSound() throws -> Bool {
        try replica.record.damage == nil && replica.recomputedDigest() == replica.record.digest
            && replica.changedPages().isEmpty
    }
}

/// Two devices, the second one a standby that holds the first one's state.
func withPair(
    seed: UInt64, checkpoints: Int = 2, _ body: (TestDevice, TestDevice, inout SeededRandom) throws -> Void
) throws {
    try TestFolder.with(in: TestFolder.shared) { folder in
        var random = SeededRandom(seed: seed)
        let active = try TestDevice(folder + "/a")
        let standby = try TestDevice(folder + "/b")
        for _ in 0..<checkpoints {
            try active.runGuest(&random)
            try active.checkpoint()
        }
        try active.send(to: standby)
        try body(active, standby, &random)
    }
}

extension TestDevice {
    /// The pack of checkpoint 1, whose parent is the base. Only for a device whose head that is.
    func checkpointAgainAsKeyframe() throws -> (pack: Data, sequence: Sequence) {
        #expect(replica.record.sequence == Sequence(rawValue: 1))
        var pack = Data()
        let writer = try PackWriter { pack.append(contentsOf: $0) }
        try writer.addDeviceState(try replica.deviceState())
        for index in 0..<replica.memory.units where !isZero(replica.memory.page(index)) {
            try writer.addMemory(index, replica.memory.page(index), parent: nil)
        }
        for (number, disk) in replica.overlays.enumerated() {
            var block = [UInt8](repeating: 0, count: Unit.size)
            try disk.forEachPresentBlock { index, _ in
                try block.withUnsafeMutableBytes { try disk.readBlock(index, into: $0) }
                try block.withUnsafeBytes { try writer.addBlock(disk: number, Int(index), $0) }
            }
        }
        let manifest = manifest(parent: .base, parentDigest: StateDigest.base(disks: 2).combined)
        _ = try writer.finish(manifest)
        return (pack, manifest.sequence)
    }

    /// A manifest of what this device holds.
    func manifest(parent: Sequence, parentDigest: Hash128) -> Manifest {
        let record = replica.record
        return Manifest(
            vm: record.vm, sequence: record.sequence, parent: parent, epoch: Epoch(rawValue: 1), device: .random(),
            created: 0, kind: record.kind, definition: Self.definition, qemu: "7.2.22", parentDigest: parentDigest,
            digest: record.digest, deviceStateBytes: (try? replica.deviceState().count) ?? 0)
    }
}
