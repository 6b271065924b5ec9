import Foundation
import Logging
import NIOCore
import NIOPosix
import QMP
import VMSyncCheckpoint
import VMSyncCore

extension Machine {
    /// What a launch needs to know beside the definition.
    package struct LaunchSettings: Sendable {
        package var name: String
        package var paths: MachinePaths
        package var accelerator: Accelerator
        package var boot: QEMUArguments.BootFiles?
        /// libramwatch.so; nil leaves the RAM untracked.
        package var ramwatch: String?

        package init(
            name: String, paths: MachinePaths, accelerator: Accelerator, boot: QEMUArguments.BootFiles?,
            ramwatch: String?
        ) {
            self.name = name
            self.paths = paths
            self.accelerator = accelerator
            self.boot = boot
            self.ramwatch = ramwatch
        }
    }

    /// Starts a QEMU, paused before its first instruction. The disks' NBD server must be listening.
    package static func launch(
        _ definition: MachineDefinition, role: QEMUArguments.Role, settings: LaunchSettings,
        group: any EventLoopGroup, logger: Logger
    ) async throws -> Machine {
        let paths = settings.paths
        if let other = QEMUProcess.find(paths) {
            throw VMSyncError(
                .wrongState, "a QEMU of this VM runs already (pid \(other.pid)); two on one memory would ruin it",
                hint: "vmsync daemon stop, then: vmsync status")
        }
        for stale in [
            paths.qmp, paths.vnc, paths.console, paths.agent, paths.stateIn, paths.pidFile, paths.ramwatchReport,
            paths.qemuLog,
        ] {
            try? FileManager.default.removeItem(atPath: stale)
        }
        let arguments = QEMUArguments.make(
            definition, name: settings.name, paths: paths, accelerator: settings.accelerator, role: role,
            boot: settings.boot)
        logger.debug("starting QEMU", metadata: ["arguments": "\(arguments.joined(separator: " "))"])
        try await start(definition.architecture, arguments, settings: settings)
        guard let process = QEMUProcess.find(paths) else {
            throw VMSyncError(.machine, "QEMU ended at once", hint: "see \(paths.qemuLog)")
        }
        do {
            let machine = try await attach(to: process, paths: paths, group: group, logger: logger)
            if role == .incoming { try await machine.listenForDeviceState() }
            return machine
        } catch {
            // Nobody knows of this QEMU but us.
            await process.waitGone(killAfter: .zero)
            throw error
        }
    }

    /// QEMU returns when the machine is built and goes on in the background. Its complaints go to its log.
    private static func start(
        _ architecture: MachineDefinition.Architecture, _ arguments: [String], settings: LaunchSettings
    ) async throws {
        let paths = settings.paths
        AtomicFile.remove(paths.qemuLog)
        do {
            try await QEMUTool.run(
                architecture.qemuProgram, arguments,
                environment: [
                    "LD_PRELOAD": settings.ramwatch, "VMSYNC_RAM": paths.ram,
                    "VMSYNC_RAMWATCH_REPORT": paths.ramwatchReport,
                ], package: architecture.qemuPackage)
        } catch let error as VMSyncError where error.hint == nil {
            let words = QEMUProcess.lastWords(paths)
            throw VMSyncError(.machine, "\(error.message) \(words)", hint: "see \(paths.qemuLog)")
        }
    }

    /// Takes over a QEMU that an earlier daemon started; nil if there is none.
    package static func adopt(
        paths: MachinePaths, group: any EventLoopGroup, logger: Logger
    ) async throws -> Machine? {
        guard let process = QEMUProcess.find(paths) else { return nil }
        return try await attach(to: process, paths: paths, group: group, logger: logger)
    }

    private static func attach(
        to process: QEMUProcess, paths: MachinePaths, group: any EventLoopGroup, logger: Logger
    ) async throws -> Machine {
        do {
            let qmp = try await QMPClient.connect(
                path: paths.qmp, group: group, logger: logger, timeout: answerLimit)
            let offered = try await qmp.execute(QMPQueryMigrateCapabilities())
            guard offered.contains(where: { $0.name == "x-ignore-shared" }) else {
                throw VMSyncError(
                    .incompatible, "QEMU \(qmp.version) can't leave shared RAM out of its device state",
                    hint: "install QEMU 7.2 or newer")
            }
            _ = try await qmp.execute(QMPMigrateSetCapabilities(["x-ignore-shared": true, "events": true]))
            // The default of 128 MB/s would pace the device state; it goes through a local socket.
            _ = try await qmp.execute(QMPMigrateSetParameters(maxBandwidth: 1 << 40))
            let receiver = try await DeviceStateReceiver.listen(path: paths.stateOut, group: group)
            return Machine(process: process, paths: paths, qmp: qmp, receiver: receiver, group: group)
        } catch let error as QMPError {
            throw VMSyncError(.machine, "talking to QEMU: \(error)", hint: "see \(paths.qemuLog)")
        }
    }
}
