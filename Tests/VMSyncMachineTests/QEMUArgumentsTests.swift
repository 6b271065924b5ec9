import Testing
import VMSyncCheckpoint
import VMSyncMachine
import VMSyncTestSupport

@Suite("The command line of QEMU")
struct QEMUArgumentsTests {
    private func make(
        _ definition: MachineDefinition = .sample(disks: [1 << 20, 1 << 20]), name: String = "vm",
        folder: String = "/x", role: QEMUArguments.Role = .boot, boot: QEMUArguments.BootFiles? = nil
    ) -> [String] {
        let paths = MachinePaths(state: folder + "/state", run: folder + "/run", memory: folder + "/memory")
        return QEMUArguments.make(definition, name: name, paths: paths, accelerator: .tcg, role: role, boot: boot)
    }

    /// The values behind each `option`.
    private func values(_ option: String, in arguments: [String]) -> [String] {
        zip(arguments, arguments.dropFirst()).filter { $0.0 == option }.map(\.1)
    }

    /// Splits an option list as QEMU does: "," separates, ",," is a comma.
    private func parts(_ list: String) -> [String] {
        list.replacing(",,", with: "\0").split(separator: ",").map { String($0).replacing("\0", with: ",") }
    }

    @Test("two devices build the same machine, whatever their paths")
    func sameMachine() {
        let other = make(folder: "/y").map { $0.replacing("/y/", with: "/x/") }
        #expect(make() == other)
        #expect(make(role: .incoming) == make() + ["-incoming", "defer"])
    }

    @Test("every PCI device has a place of its own")
    func places() {
        for architecture in MachineDefinition.Architecture.allCases {
            let disks = [UInt64](repeating: 1 << 20, count: Limits.disksMax)
            var definition = MachineDefinition.sample(architecture, disks: disks)
            definition.sound = .hda
            let devices = values("-device", in: make(definition)).filter { $0.contains("addr=") }
            let places = devices.flatMap { parts($0).filter { $0.hasPrefix("addr=") } }
            #expect(Set(places).count == devices.count)
            // A PC has its keyboard elsewhere.
            #expect(devices.count == Limits.disksMax + (architecture == .x86_64 ? 7 : 8))
            // QEMU reads a slot as hexadecimal, with or without "0x".
            let slots = places.map { Int($0.dropFirst(5).replacing("0x", with: ""), radix: 16) ?? 99 }
            #expect(Set(slots).count == devices.count)
            #expect(slots.allSatisfy { $0 < 32 })
        }
    }

    @Test("a sound card is there only if it is defined, and changes nothing else")
    func sound() {
        var definition = MachineDefinition.sample()
        let silent = make(definition)
        #expect(!silent.contains { $0.contains("hda") })
        definition.sound = .hda
        let loud = make(definition)
        #expect(values("-audiodev", in: loud) == ["none,id=sound"])
        #expect(
            loud.filter { !$0.contains("hda") && !$0.contains("id=sound") && $0 != "-audiodev" }.count
                == silent.count + 2)
        #expect(values("-device", in: silent).allSatisfy(values("-device", in: loud).contains))
    }

    @Test("a comma in a path or name stays inside its value")
    func commas() throws {
        let folder = "/a,readonly=on,b"
        let arguments = make(name: "x,debug-threads=on", folder: folder)
        let memory = try #require(values("-object", in: arguments).first)
        #expect(parts(memory).contains("mem-path=\(folder)/memory/ram"))
        #expect(!parts(memory).contains("readonly=on"))
        for disk in values("-blockdev", in: arguments) {
            #expect(parts(disk).contains("server.path=\(folder)/run/disks"))
        }
        for socket in values("-chardev", in: arguments) {
            #expect(parts(socket).contains { $0.hasPrefix("path=\(folder)/run/") })
            #expect(!parts(socket).contains("readonly=on"))
        }
        #expect(values("-name", in: arguments).map(parts) == [["guest=x,debug-threads=on"]])
    }

    @Test("a kernel is given only to a VM that is defined with one")
    func kernel() {
        let files = QEMUArguments.BootFiles(kernel: "/k", initrd: "/i")
        #expect(!make(boot: files).contains("-kernel"))
        let definition = MachineDefinition.sample(boot: .init(hasInitrd: true, commandLine: "console=ttyS0 a,b"))
        let arguments = make(definition, boot: files)
        #expect(values("-kernel", in: arguments) == ["/k"])
        #expect(values("-initrd", in: arguments) == ["/i"])
        #expect(values("-append", in: arguments) == ["console=ttyS0 a,b"])
    }
}
