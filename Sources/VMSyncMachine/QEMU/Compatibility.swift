import VMSyncCheckpoint
import VMSyncCore

extension HostCapabilities {
    /// Why this device can't go on from a checkpoint of `definition` that QEMU `savedBy` made; nil if it can.
    ///
    /// Asked on the target before the source pauses. Strict about the version: the capability that keeps guest RAM out
    /// of the device state is marked unstable by QEMU, so only the same major.minor is known to load it.
    /// And about the accelerator: what KVM keeps of clocks, timers and interrupts isn't what TCG keeps of them.
    /// - Parameter saver: nil for a VM that is shut off, which any QEMU with the machine type can boot.
    package func reasonAgainst(_ definition: MachineDefinition, savedBy saver: Saver?) -> VMSyncError? {
        let architecture = definition.architecture
        guard let emulator = emulators[architecture.rawValue] else {
            return VMSyncError(
                .incompatible, "\(architecture.qemuProgram) is not installed here",
                hint: "sudo apt-get install \(architecture.qemuPackage)")
        }
        guard emulator.machines.contains(definition.machineType) else {
            return VMSyncError(
                .incompatible,
                "QEMU \(emulator.version) here doesn't know the machine type \(definition.machineType)",
                hint: "install a newer \(architecture.qemuPackage) on this device")
        }
        guard emulator.cpuModels.contains(definition.cpuModel) else {
            return VMSyncError(
                .incompatible, "QEMU \(emulator.version) here doesn't know the CPU model \(definition.cpuModel)",
                hint: "vmsync doctor shows what each device can run")
        }
        if let saver, Self.release(saver.qemu) != Self.release(emulator.version) {
            return VMSyncError(
                .incompatible, "the VM runs under QEMU \(saver.qemu), this device has QEMU \(emulator.version)",
                hint: Self.coldHint)
        }
        if let ran = saver?.accelerator, ran != emulator.accelerator.rawValue {
            return VMSyncError(
                .incompatible, "the VM runs by \(ran), this device has \(emulator.accelerator.rawValue) only",
                hint: Self.coldHint)
        }
        guard definition.memory <= memory else {
            return VMSyncError(
                .noSpace,
                "the VM needs \(ByteCount(definition.memory)) of memory, this device has \(ByteCount(memory))")
        }
        return nil
    }

    private static let coldHint = "vmsync switch --cold shuts the guest down there and boots it here"

    /// "7.2" of "7.2.22".
    private static func release(_ version: String) -> [Substring] {
        Array(version.split(separator: ".").prefix(2))
    }
}
