import Foundation
import NBD
import NIOPosix
import QMP
import Synchronization
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// A guest for QEMU alone: the machine that vmsync would make of it, and one disk for all QEMUs that run it in turn.
struct PlainGuest: Sendable {
    let definition: MachineDefinition
    let boot: QEMUArguments.BootFiles
    let disk: OverlayDisk
    let folder: String

    /// - Parameter folder: gets the disk's changes.
    init(_ guest: SmallGuest, folder: String) throws {
        definition = try guest.definition()
        boot = guest.bootFiles
        let (overlay, size) = ("\(folder)/disk", definition.disks[0].size)
        try OverlayDisk.create(folder: overlay, base: guest.disk, size: size)
        disk = try OverlayDisk.open(
            folder: overlay, base: guest.disk, size: size, bootID: try OverlayDisk.currentBootID())
        self.folder = folder
    }
}

/// One stock QEMU with memory of its own, which no daemon watches.
final class PlainQEMU: Sendable {
    let paths: MachinePaths
    let qmp: QMPClient
    private let disks: NBDServer
    private let watch: Watch
    private let observation: QMPObservation

    /// When the guest last stopped and last went on.
    var moments: Moments { watch.moments.withLock { $0 } }

    /// Starts one that is paused before its first instruction, or that waits for a guest.
    /// - Parameter link: its far side, for a QEMU that belongs there.
    static func start(
        _ guest: PlainGuest, _ role: QEMUArguments.Role, farSideOf link: ShapedLink? = nil
    ) async throws -> PlainQEMU {
        let place = "\(guest.folder)/\(Identifier.random().prefix(6))"
        try AtomicFile.makeFolder(place)
        let paths = MachinePaths(state: place, run: place, memory: place)
        let disks = try await NBDServer.start(
            path: paths.disks, exports: [MachinePaths.exportName(0): guest.disk],
            group: MultiThreadedEventLoopGroup.singleton, threadPool: .singleton, logger: BenchFolder.logger)
        do {
            let architecture = guest.definition.architecture
            let arguments = QEMUArguments.make(
                guest.definition, name: "plain", paths: paths, accelerator: .choose(for: architecture), role: role,
                boot: guest.boot, ram: .unshared)
            let command = [architecture.qemuProgram] + arguments
            try await QEMUTool.run(
                "env", link.map { $0.farCommand(command) } ?? command, package: architecture.qemuPackage)
            let qmp = try await QMPClient.connect(path: paths.qmp, logger: BenchFolder.logger)
            return PlainQEMU(paths: paths, qmp: qmp, disks: disks)
        } catch {
            await end(paths, disks)
            throw error
        }
    }

    private init(paths: MachinePaths, qmp: QMPClient, disks: NBDServer) {
        self.paths = paths
        self.qmp = qmp
        self.disks = disks
        let watch = Watch()
        self.watch = watch
        observation = qmp.observe { watch.take($0) }
    }

    /// Ends it, and all that it held.
    func end() async {
        await qmp.close()
        await Self.end(paths, disks)
    }

    private static func end(_ paths: MachinePaths, _ disks: NBDServer) async {
        await QEMUProcess.find(paths)?.waitGone(killAfter: .zero)
        await disks.stop()
    }
}

extension PlainQEMU {
    /// In milliseconds since 1970 by the host's clock; nil what has not happened.
    struct Moments {
        var stopped: Double?
        var resumed: Double?
    }

    private final class Watch: Sendable {
        let moments = Mutex(Moments())

        func take(_ event: QMPEvent?) {
            guard let event else { return }
            let time = Double(event.timestamp.seconds) * 1000 + Double(event.timestamp.microseconds) / 1000
            switch event.kind {
            case .stop: moments.withLock { $0.stopped = time }
            case .resume: moments.withLock { $0.resumed = time }
            default: break
            }
        }
    }
}
