import Foundation
import Logging
import QMP
import VMSyncCheckpoint
import VMSyncCore

/// What one device can run, as its QEMU says; other devices read it from the server.
package struct HostCapabilities: Sendable, Codable, Hashable {
    package struct Emulator: Sendable, Codable, Hashable {
        /// "7.2.22"
        package var version: String
        package var machines: Set<String>
        package var cpuModels: Set<String>
        package var accelerator: Accelerator

        package init(version: String, machines: Set<String>, cpuModels: Set<String>, accelerator: Accelerator) {
            self.version = version
            self.machines = machines
            self.cpuModels = cpuModels
            self.accelerator = accelerator
        }
    }

    /// By architecture; one that isn't installed is missing.
    package var emulators: [String: Emulator]
    /// Bytes of memory that guests can get in all.
    package var memory: UInt64

    package init(emulators: [String: Emulator], memory: UInt64) {
        self.emulators = emulators
        self.memory = memory
    }

    /// Asks the installed QEMUs; takes some 100 ms each.
    /// - Parameter folder: an existing folder for the sockets.
    package static func probe(folder: String, logger: Logger) async -> HostCapabilities {
        var emulators: [String: Emulator] = [:]
        for architecture in MachineDefinition.Architecture.allCases {
            do {
                emulators[architecture.rawValue] = try await Emulator.probe(
                    architecture, folder: folder, logger: logger)
            } catch {
                logger.info("no emulator", metadata: ["architecture": "\(architecture)", "reason": "\(error)"])
            }
        }
        return HostCapabilities(emulators: emulators, memory: ProcessInfo.processInfo.physicalMemory)
    }
}

extension HostCapabilities.Emulator {
    static func probe(
        _ architecture: MachineDefinition.Architecture, folder: String, logger: Logger
    ) async throws -> HostCapabilities.Emulator {
        let socket = "\(folder)/probe-\(architecture.rawValue)-\(Identifier.random().prefix(6))"
        try await QEMUTool.run(
            architecture.qemuProgram,
            [
                "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S", "-daemonize",
                "-chardev", "socket,id=qmp,path=\(socket),server=on,wait=off", "-mon", "chardev=qmp,mode=control",
            ], package: architecture.qemuPackage)
        let qmp = try await QMPClient.connect(path: socket, logger: logger)
        defer { try? FileManager.default.removeItem(atPath: socket) }
        do {
            let machines = try await qmp.execute(QMPQueryMachines())
            let models = try await qmp.execute(QMPQueryCPUDefinitions())
            _ = try? await qmp.execute(QMPQuit())
            await qmp.close()
            return HostCapabilities.Emulator(
                version: Fault.value("report-qemu-version") ?? qmp.version.description,
                machines: Set(machines.map(\.name)),
                cpuModels: Set(models.map { Self.modelName($0.name) }).subtracting([Fault.value("hide-cpu-model") ?? ""]
                ),
                accelerator: .choose(for: architecture))
        } catch {
            _ = try? await qmp.execute(QMPQuit())
            throw error
        }
    }

    /// QOM names of ARM models end in "-arm-cpu"; `-cpu` takes them without.
    private static func modelName(_ name: String) -> String {
        name.hasSuffix("-arm-cpu") ? String(name.dropLast("-arm-cpu".count)) : name
    }
}
