import VMSyncCheckpoint

/// The command line of QEMU for one VM. A pure function of the definition, the paths and the role: two devices build
/// machines that load each other's state.
package struct QEMUArguments: Sendable {
    package enum Role: Sendable {
        /// Boots, when told to continue.
        case boot
        /// Waits for device state.
        case incoming
    }

    /// Where the guest's RAM lies.
    package enum RAM: Sendable {
        /// In the file of the paths, which the daemon maps too.
        case shared
        /// In QEMU alone: for measuring what QEMU does by itself.
        case unshared
    }

    /// Kernel and initial RAM disk on this device, for a definition with direct boot.
    package struct BootFiles: Sendable {
        package var kernel: String
        package var initrd: String?
        package init(kernel: String, initrd: String?) {
            self.kernel = kernel
            self.initrd = initrd
        }
    }

    /// Seconds for which QEMU holds the guest's disk requests back while the daemon is away. After that they fail and
    /// `werror=stop` pauses the VM, so that the guest never sees an error.
    private static let reconnectSeconds = 120
    /// A guest's driver uses half of the video memory for one picture: half of 16 MiB holds 1920 × 1080 pixels. It is no
    /// part of the shared RAM, so it goes through the device state each time, most of it before the pause.
    private static let videoMegabytes = 16
    /// The older form of virtio, which every guest has. QEMU saves the newer one with 1024 queues, used or not: 45 KB and
    /// more than half a millisecond of pause for each device. The input devices exist in the newer form only.
    private static let legacy = "disable-modern=on,disable-legacy=off"
    /// PCI slots are part of the state: each device has its own for ever. Disks come from 8 upwards.
    /// A kernel that QEMU loads itself takes index 0.
    private static let firstBootIndex = 1
    private enum Slot {
        static let video = 2
        static let network = 3
        static let keyboard = 4
        static let tablet = 5
        static let random = 6
        static let balloon = 7
        static let disks = 8
        /// Behind the last disk.
        static let sound = disks + Limits.disksMax
        static let agent = sound + 1
    }

    /// The network, as QMP calls it.
    static let network = "net"

    package static func make(
        _ definition: MachineDefinition, name: String, paths: MachinePaths, accelerator: Accelerator, role: Role,
        boot: BootFiles?, ram: RAM = .shared
    ) -> [String] {
        machine(definition, name: name, accelerator: accelerator) + memory(definition, paths, ram)
            + disks(definition, paths) + devices(definition, paths) + sound(definition)
            + control(paths) + kernel(definition, boot) + (role == .incoming ? ["-incoming", "defer"] : [])
    }

    private static func machine(_ definition: MachineDefinition, name: String, accelerator: Accelerator) -> [String] {
        [
            "-name", "guest=\(value(name))", "-nodefaults", "-no-user-config", "-only-migratable",
            "-machine", "\(definition.machineType),memory-backend=ram\(board(definition))",
            "-accel", accelerator.rawValue, "-cpu", definition.cpuModel,
            "-smp", "\(definition.cores)", "-rtc", "base=utc",
        ]
    }

    /// What the board goes without: the PC's disk controller. To save its six empty ports takes 0.4 ms of each pause.
    private static func board(_ definition: MachineDefinition) -> String {
        switch definition.architecture {
        case .x86_64: ",sata=off"
        case .aarch64: ""
        }
    }

    private static func memory(_ definition: MachineDefinition, _ paths: MachinePaths, _ ram: RAM) -> [String] {
        let size = "\(definition.memory >> 20)M"
        let backend =
            switch ram {
            case .shared: "memory-backend-file,id=ram,mem-path=\(value(paths.ram)),size=\(size),share=on"
            case .unshared: "memory-backend-ram,id=ram,size=\(size)"
            }
        return ["-m", size, "-object", backend]
    }

    /// The boot order begins with 1: QEMU takes 0 for a kernel that it loads itself.
    private static func disks(_ definition: MachineDefinition, _ paths: MachinePaths) -> [String] {
        definition.disks.indices.flatMap { index in
            [
                "-blockdev",
                "driver=nbd,node-name=disk\(index),server.type=unix,server.path=\(value(paths.disks)),"
                    + "export=\(MachinePaths.exportName(index)),reconnect-delay=\(reconnectSeconds),discard=unmap",
                "-device",
                "virtio-blk-pci,\(legacy),drive=disk\(index),addr=0x\(String(Slot.disks + index, radix: 16)),"
                    + "bootindex=\(firstBootIndex + index),"
                    + "werror=stop,rerror=stop,discard=on",
            ]
        }
    }

    private static func devices(_ definition: MachineDefinition, _ paths: MachinePaths) -> [String] {
        var arguments = [
            "-netdev", "user,id=\(network)", "-device",
            "virtio-net-pci,\(legacy),netdev=\(network),mac=\(definition.macAddress),romfile=,addr=\(Slot.network)",
            "-device", "virtio-tablet-pci,addr=\(Slot.tablet)",
            "-device", "virtio-rng-pci,\(legacy),addr=\(Slot.random)",
            // Memory that the guest has freed becomes a hole of the RAM file: it costs the host and a checkpoint nothing.
            "-device", "virtio-balloon-pci,\(legacy),free-page-reporting=on,addr=\(Slot.balloon)",
            "-vnc", "unix:\(value(paths.vnc))",
        ]
        arguments += agent(paths)
        switch definition.architecture {
        case .x86_64:
            // No keyboard of virtio: a PC has one in any case, and a second would take 0.85 ms of each pause to save.
            arguments += ["-device", "VGA,vgamem_mb=\(videoMegabytes),addr=\(Slot.video)"]
            arguments += ["-device", "vmgenid,guid=\(definition.generationID)"]
        case .aarch64:
            // QEMU 7.2 has vmgenid for x86 only.
            arguments += ["-device", "virtio-gpu-pci,addr=\(Slot.video)"]
            arguments += ["-device", "virtio-keyboard-pci,addr=\(Slot.keyboard)"]
        }
        return arguments
    }

    /// A line to the guest's agent, if it has one. No more ports than that: each takes room in the device state.
    private static func agent(_ paths: MachinePaths) -> [String] {
        [
            "-device", "virtio-serial-pci,\(legacy),max_ports=2,addr=0x\(String(Slot.agent, radix: 16))",
            "-chardev", "socket,id=agent,path=\(value(paths.agent)),server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        ]
    }

    /// Played to nobody and recorded from silence, at the pace of real time: what is heard on one device would have to
    /// move to the next.
    private static func sound(_ definition: MachineDefinition) -> [String] {
        switch definition.sound {
        case .hda:
            [
                "-audiodev", "none,id=sound", "-device", "intel-hda,id=hda,addr=0x\(String(Slot.sound, radix: 16))",
                "-device", "hda-duplex,bus=hda.0,cad=0,audiodev=sound",
            ]
        case nil: []
        }
    }

    private static func control(_ paths: MachinePaths) -> [String] {
        [
            "-chardev", "socket,id=qmp,path=\(value(paths.qmp)),server=on,wait=off", "-mon", "chardev=qmp,mode=control",
            "-chardev",
            "socket,id=console,path=\(value(paths.console)),server=on,wait=off,logfile=\(value(paths.consoleLog)),logappend=on",
            "-serial", "chardev:console", "-D", paths.qemuLog, "-pidfile", paths.pidFile, "-no-shutdown", "-daemonize",
            "-S",
        ]
    }

    /// `path` inside an option list, in which a comma would begin the next option.
    private static func value(_ path: String) -> String {
        path.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
    }

    private static func kernel(_ definition: MachineDefinition, _ boot: BootFiles?) -> [String] {
        guard let settings = definition.boot, let boot else { return [] }
        let initrd = boot.initrd.map { ["-initrd", $0] } ?? []
        return ["-kernel", boot.kernel, "-append", settings.commandLine] + initrd
    }
}
