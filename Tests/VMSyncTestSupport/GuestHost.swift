import Foundation
import Logging
import NBD
import NIOCore
import NIOPosix
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica

/// One device that runs the small guest: a replica, its disks behind an NBD server, and QEMUs on them.
///
/// Not Sendable, like its replica: one test uses it.
package final class GuestHost {
    package let guest: SmallGuest
    package let definition: MachineDefinition
    package let paths: MachinePaths
    package let replica: Replica
    private let server: NBDServer
    private let ramwatch: String?
    private let group = MultiThreadedEventLoopGroup.singleton
    private let logger: Logger

    /// Runs `body` with a device in a folder of its own, and ends whatever QEMU is left of it.
    /// - Parameter vm: the same for all devices of one test.
    package static func with<Result>(
        _ guest: SmallGuest, vm: VMID, ramwatch: String? = nil, _ body: (GuestHost) async throws -> Result
    ) async throws -> Result {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            let host = try await GuestHost(guest, vm: vm, folder: folder, ramwatch: ramwatch)
            let result: Swift.Result<Result, any Error>
            do { result = .success(try await body(host)) } catch { result = .failure(error) }
            await QEMUProcess.find(host.paths)?.waitGone(killAfter: .zero)
            await host.server.stop()
            return try result.get()
        }
    }

    private init(_ guest: SmallGuest, vm: VMID, folder: String, ramwatch: String?) async throws {
        self.guest = guest
        self.ramwatch = ramwatch
        definition = try guest.definition()
        paths = MachinePaths(state: folder + "/state", run: folder + "/run", memory: folder + "/memory")
        logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        replica = try Replica(
            vm: vm, definition: definition, paths: paths, bases: [guest.disk],
            bootID: try OverlayDisk.currentBootID(), logger: logger)
        let exports = replica.overlays.enumerated().map {
            (MachinePaths.exportName($0.offset), $0.element as any BlockDevice)
        }
        server = try await NBDServer.start(
            path: paths.disks, exports: Dictionary(uniqueKeysWithValues: exports), group: group,
            threadPool: .singleton, logger: logger)
    }

    package func launch(_ role: QEMUArguments.Role = .boot) async throws -> Machine {
        let settings = Machine.LaunchSettings(
            name: "small", paths: paths, accelerator: .choose(for: guest.architecture), boot: guest.bootFiles,
            ramwatch: ramwatch)
        return try await Machine.launch(definition, role: role, settings: settings, group: group, logger: logger)
    }

    package func adopt() async throws -> Machine? {
        try await Machine.adopt(paths: paths, group: group, logger: logger)
    }

    /// The tracker of the running QEMU, armed.
    package func tracker(of machine: Machine) throws -> DirtyTracker {
        let report = try RamwatchReport(file: paths.ramwatchReport, memory: definition.memory)
        let tracker = try DirtyTracker(pid: machine.process.pid, report: report)
        return tracker
    }

    package func header(_ kind: Manifest.Kind = .live, qemu: String) -> CheckpointHeader {
        CheckpointHeader(
            kind: kind, epoch: Epoch(rawValue: 1), device: .random(), created: Date().timeIntervalSince1970, qemu: qemu)
    }

    /// Brings everything that waits in the outbox to `other`.
    package func send(to other: GuestHost) throws {
        for checkpoint in try replica.outbox() {
            try FileManager.default.copyItem(
                atPath: checkpoint.packPath, toPath: other.replica.inboxPath(checkpoint.sequence))
            try other.replica.applyInbox(checkpoint.sequence)
            replica.acknowledge(checkpoint.sequence)
        }
    }

    package func witness() -> WitnessLog { .read(paths.consoleLog) }
}
