import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncTestSupport

@Suite("Why a device can't run a VM")
struct CompatibilityTests {
    private let host = HostCapabilities(
        emulators: [
            "x86_64": .init(
                version: "7.2.22", machines: ["pc-q35-7.2"], cpuModels: ["Nehalem"], accelerator: .tcg)
        ], memory: 1 << 30)

    private func reason(
        _ definition: MachineDefinition = .sample(), savedBy version: String? = "7.2.9", by accelerator: String? = nil
    ) -> VMSyncError? {
        host.reasonAgainst(definition, savedBy: version.map { Saver(qemu: $0, accelerator: accelerator) })
    }

    @Test("nothing stands against a VM that fits")
    func fits() {
        #expect(reason() == nil)
        #expect(reason(savedBy: nil) == nil)
    }

    @Test("a missing emulator, with the package to install")
    func emulator() throws {
        let error = try #require(reason(.sample(.aarch64)))
        #expect(error.code == .incompatible)
        #expect(error.message.contains("qemu-system-aarch64"))
        #expect(error.hint?.contains("qemu-system-arm") == true)
    }

    @Test("an unknown machine type or CPU model")
    func machine() throws {
        var definition = MachineDefinition.sample()
        definition.machineType = "pc-q35-9.0"
        #expect(try #require(reason(definition)).message.contains("pc-q35-9.0"))
        definition = .sample()
        definition.cpuModel = "Icelake-Server"
        #expect(try #require(reason(definition)).message.contains("Icelake-Server"))
    }

    @Test("another release of QEMU, unless the VM is off", arguments: ["7.1.22", "8.2.0", "7", "", "72.2"])
    func version(saved: String) throws {
        let error = try #require(reason(savedBy: saved))
        #expect(error.code == .incompatible)
        #expect(error.message.contains("7.2.22"))
    }

    @Test("another accelerator, unless the VM is off")
    func accelerator() throws {
        #expect(reason(by: "tcg") == nil)
        let error = try #require(reason(by: "kvm"))
        #expect(error.code == .incompatible && error.message.contains("kvm") && error.message.contains("tcg"))
        #expect(error.hint?.contains("--cold") == true)
        #expect(reason(savedBy: nil, by: "kvm") == nil)
    }

    @Test("more memory than the device has")
    func memory() throws {
        let error = try #require(reason(.sample(memory: 2 << 30)))
        #expect(error.code == .noSpace)
        #expect(error.message.contains("2.1 GB"))
    }
}
