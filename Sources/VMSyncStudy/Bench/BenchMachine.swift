#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import Logging
import NBD
import NIOCore
import NIOPosix
import VMSyncCheckpoint
import VMSyncCore
import VMSyncDevice
import VMSyncMachine
import VMSyncReplica

/// A running guest as a device's daemon has it, in this process: a replica, its disks behind an NBD server, QEMU, and
/// the same capture and seal. What is measured with it is the product's own code, without a server beside it: each
/// checkpoint counts as acknowledged at once.
///
/// Has a thread of its own, because a replica blocks.
actor BenchMachine {
    /// Seconds after which a guest counts as at rest in any case.
    private static let settlingMax = 40
    /// Bytes of a checkpoint of a guest that does nothing, generously.
    private static let smallPack = 16 << 10
    /// So many of them in a row mean that it is at rest.
    private static let smallPacks = 3

    private nonisolated let thread: any EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.executor.asUnownedSerialExecutor() }

    nonisolated let paths: MachinePaths
    nonisolated let definition: MachineDefinition
    private let guest: SmallGuest
    private let logger: Logger
    private var replica: Replica?
    private var server: NBDServer?
    private var machine: Machine?
    private var tracker: DirtyTracker?
    private var trackerIsCurrent = false
    /// Bytes a second of the link that packs would go over: 100 Mbit/s. Nil for one that is so fast that they are only
    /// compressed at the fastest level.
    private var link: Double? = 12.5e6

    /// Runs `body` with the booted guest in `folder`, and ends QEMU.
    static func with<Result: Sendable>(
        _ guest: SmallGuest, folder: String, logger: Logger, _ body: (BenchMachine) async throws -> Result
    ) async throws -> Result {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let machine = try BenchMachine(guest, folder: folder, thread: group.next(), logger: logger)
        let result: Swift.Result<Result, any Error>
        do {
            try await machine.boot()
            result = .success(try await body(machine))
        } catch {
            result = .failure(error)
        }
        await machine.end()
        try? await group.shutdownGracefully()
        return try result.get()
    }

    private init(_ guest: SmallGuest, folder: String, thread: any EventLoop, logger: Logger) throws {
        self.guest = guest
        self.thread = thread
        self.logger = logger
        definition = try guest.definition()
        paths = MachinePaths(state: folder + "/state", run: folder + "/run", memory: folder + "/memory")
    }

    private func boot() async throws {
        let replica = try Replica(
            vm: .random(), definition: definition, paths: paths, bases: [guest.disk],
            bootID: try OverlayDisk.currentBootID(), logger: logger)
        self.replica = replica
        let exports = replica.overlays.enumerated().map {
            (MachinePaths.exportName($0.offset), $0.element as any BlockDevice)
        }
        let group = MultiThreadedEventLoopGroup.singleton
        server = try await NBDServer.start(
            path: paths.disks, exports: Dictionary(uniqueKeysWithValues: exports), group: group, threadPool: .singleton,
            logger: logger)
        let settings = Machine.LaunchSettings(
            name: "bench", paths: paths, accelerator: .choose(for: definition.architecture), boot: guest.bootFiles,
            ramwatch: RamwatchLibrary.path)
        let machine = try await Machine.launch(
            definition, role: .boot, settings: settings, group: group, logger: logger)
        self.machine = machine
        let report = try RamwatchReport(file: paths.ramwatchReport, memory: definition.memory)
        tracker = try DirtyTracker(pid: machine.process.pid, report: report)
        try await machine.resume()
    }

    private func end() async {
        await machine?.end()
        await server?.stop()
        try? replica?.close()
        machine = nil
        replica = nil
    }

    /// One checkpoint, sealed and acknowledged.
    /// - Parameters:
    ///   - account: is shown the capture before it is sealed, and the pack afterwards; its time isn't measured.
    ///   - interval: between two of them.
    func checkpoint(
        _ account: SessionAccount? = nil, every interval: Duration = .seconds(1)
    ) async throws -> CheckpointFigures {
        guard let machine, let replica else { throw VMSyncError(.bug, "the bench's guest doesn't run") }
        let isCurrent = trackerIsCurrent
        trackerIsCurrent = false
        let began = ProcessorTime.ofThisThread
        var live = try await replica.captureLive(
            of: machine, tracker: tracker, trackerIsCurrent: isCurrent, thenResume: true)
        let captured = ProcessorTime.ofThisThread
        try account?.take(live, of: replica)
        let start = ProcessorTime.ofThisThread
        replica.planCompression(link: link, interval: interval.seconds)
        let header = CheckpointHeader(
            kind: .live, epoch: Epoch(rawValue: 1), device: .random(), created: Date().timeIntervalSince1970,
            qemu: machine.version)
        let sealed = try await replica.sealLive(&live, of: machine, header: header, thenResume: true)
        trackerIsCurrent = true
        let encoded = ProcessorTime.ofThisThread - start
        try account?.take(sealed, replica.lastTally)
        replica.acknowledge(sealed.sequence)
        return CheckpointFigures(
            dirtyBytes: (live.capture.pages + live.capture.frozen.reduce(0) { $0 + $1.blocks.count }) * Unit.size,
            packBytes: sealed.packBytes, tally: replica.lastTally, pause: live.pause, encodeSeconds: encoded,
            captureSeconds: captured - began)
    }

    /// Waits until a guest that was just booted has come to rest: a few seconds of small checkpoints.
    func settle(_ account: SessionAccount? = nil) async throws {
        var small = 0
        for _ in 0..<Self.settlingMax where small < Self.smallPacks {
            try await Task.sleep(for: .seconds(1))
            small = try await checkpoint(account).packBytes < Self.smallPack ? small + 1 : 0
        }
    }

    /// From here on packs are as over the fastest of links.
    func linkIsFast() { link = nil }

    /// An account of all captures from here on; to be made before the first.
    func makeAccount(folder: String) throws -> SessionAccount {
        try SessionAccount(folder: folder, memory: definition.memory)
    }
}

/// What one checkpoint cost.
struct CheckpointFigures: Sendable {
    /// Pages and blocks that were written since the one before.
    var dirtyBytes: Int
    var packBytes: Int
    var tally: PackTally
    var pause: LiveCapture.Pause
    /// Of the processor, by the thread that encodes.
    var encodeSeconds: Double
    var captureSeconds: Double
}

/// Seconds that a thread or process had a processor.
enum ProcessorTime {
    static var ofThisThread: Double { seconds(CLOCK_THREAD_CPUTIME_ID) }
    static var ofThisProcess: Double { seconds(CLOCK_PROCESS_CPUTIME_ID) }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
