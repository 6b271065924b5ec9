#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// What this device can do, and what to do about the rest.
extension Daemon {
    package func doctor() async -> DoctorReport {
        let findings = emulators + [memory, disk, await tracking(), await server]
        // What is known of the devices may be old.
        _ = try? await listDevices()
        var fits: [Fit] = []
        for host in visible.sorted(by: { $0.name < $1.name }) {
            let saver = await host.saver
            fits += profiles.map { $0.fit(of: host.description.machine, savedBy: saver, calling: host.name) }
        }
        return DoctorReport(findings: findings, fits: fits)
    }

    /// Of all devices, by their names; of this one as it is now.
    private var profiles: [DeviceProfile] {
        devices.map { record in
            record.id == environment.me.id
                ? DeviceProfile(of: environment.me, capabilities: environment.capabilities)
                : DeviceProfile.read(record, account)
        }.sorted { $0.name < $1.name }
    }

    private var emulators: [Finding] {
        MachineDefinition.Architecture.allCases.map { architecture in
            guard let emulator = environment.capabilities.emulators[architecture.rawValue] else {
                return Finding(
                    architecture.qemuProgram, architecture == .host ? .bad : .warning, "not installed",
                    hint: "sudo apt-get install \(architecture.qemuPackage)")
            }
            guard emulator.machines.contains(architecture.machineType) else {
                return Finding(
                    architecture.qemuProgram, .bad, "\(emulator.version) lacks \(architecture.machineType)",
                    hint: "install QEMU 7.2 or newer")
            }
            return Finding(
                architecture.qemuProgram, .good,
                "\(emulator.version), \(architecture.machineType), \(emulator.accelerator.rawValue)")
        }
    }

    private var memory: Finding { room("guest memory", folders.memory, wanted: 1 << 30) }
    private var disk: Finding { room("state folder", folders.state, wanted: 10 << 30) }

    private func room(_ subject: String, _ folder: String, wanted: UInt64) -> Finding {
        let free: UInt64
        do { free = try FreeSpace.bytes(at: folder) } catch { return Finding(subject, .bad, error.message) }
        return Finding(
            subject, free >= wanted ? .good : .warning, "\(ByteCount(free)) free in \(folder)",
            hint: free >= wanted ? nil : "a desktop wants more room there")
    }

    private func tracking() async -> Finding {
        let machines = visible.compactMap { $0.status.machine }
        if let problem = machines.compactMap(\.trackingProblem).first {
            return Finding(
                "memory tracking", .warning, "compare: \(problem)", hint: "checkpoints pause the VM longer than needed")
        }
        guard let ramwatch = environment.ramwatch else {
            return Finding("memory tracking", .warning, "compare: libramwatch.so is missing", hint: "make build")
        }
        do {
            try await TrackingProbe.run(folder: folders.memory, library: ramwatch)
            return Finding("memory tracking", .good, "pagemap: a probe's write was seen")
        } catch {
            return Finding("memory tracking", .warning, "compare: \(VMSyncError(error).message)")
        }
    }

    private var server: Finding {
        get async {
            do {
                try await client.checkHealth()
                // Whoever was revoked hears that it answers, and nothing else.
                _ = try await client.devices()
                return Finding("sync server", .good, client.url)
            } catch {
                return Finding(
                    "sync server", .bad, VMSyncError(error).message,
                    hint: VMSyncError(error).hint ?? "vmsync server run")
            }
        }
    }
}

extension DeviceProfile {
    /// Whether a VM moves to the device.
    /// - Parameter saver: what saved its last state; nil if it is off.
    fileprivate func fit(of machine: MachineDefinition, savedBy saver: Saver?, calling vm: String) -> Fit {
        if isMirror ?? false { return Fit(vm: vm, device: name, .no, reason: "it is a mirror") }
        guard let capabilities else { return Fit(vm: vm, device: name, .unknown) }
        guard let problem = capabilities.reasonAgainst(machine, savedBy: saver) else {
            return Fit(vm: vm, device: name, .live)
        }
        let boots = capabilities.reasonAgainst(machine, savedBy: nil) == nil
        return Fit(vm: vm, device: name, boots ? .cold : .no, reason: problem.message)
    }
}
