import VMSyncCore

/// What a VM is made of, the same on every device: it goes into each checkpoint, and a device that can't run it says so
/// before anything is paused. Portable by construction: nothing in it depends on a host.
package struct MachineDefinition: Hashable, Sendable, Codable {
    package enum Architecture: String, Sendable, Codable, CaseIterable {
        case x86_64
        case aarch64

        /// A versioned machine type, so that a newer QEMU still builds the machine that the state was saved from.
        package var machineType: String {
            switch self {
            case .x86_64: "pc-q35-7.2"
            case .aarch64: "virt-7.2"
            }
        }

        /// A named model that TCG and every 64-bit host of the last fifteen years can run; never `host`.
        package var cpuModel: String {
            switch self {
            case .x86_64: "Nehalem"
            case .aarch64: "cortex-a72"
            }
        }
    }

    package struct Disk: Hashable, Sendable, Codable {
        /// Bytes; a multiple of 512.
        package var size: UInt64
        package init(size: UInt64) { self.size = size }
    }

    /// A kernel that QEMU loads itself, for guests without a boot loader; the files travel with the base images.
    package struct DirectBoot: Hashable, Sendable, Codable {
        package var hasInitrd: Bool
        package var commandLine: String
        package init(hasInitrd: Bool, commandLine: String) {
            self.hasInitrd = hasInitrd
            self.commandLine = commandLine
        }
    }

    /// How the guest is heard and what it hears. Nil in every definition from before there was a choice.
    package enum Sound: String, Sendable, Codable {
        /// Intel's sound card with one line out and one line in, which every guest has a driver for.
        case hda
    }

    package var architecture: Architecture
    package var machineType: String
    package var cpuModel: String
    package var cores: Int
    /// Bytes; a multiple of 1 MiB.
    package var memory: UInt64
    package var disks: [Disk]
    package var boot: DirectBoot?
    /// Nil is a machine without a sound card.
    package var sound: Sound?
    /// Fixed, so that the guest finds its network card again: "52:54:00:…".
    package var macAddress: String
    /// The guest's generation: changes when a VM is forked, so that it reseeds what must be unique. A UUID.
    package var generationID: String

    package init(
        architecture: Architecture, machineType: String? = nil, cpuModel: String? = nil, cores: Int, memory: UInt64,
        disks: [Disk], boot: DirectBoot?, sound: Sound? = nil, macAddress: String, generationID: String
    ) {
        self.architecture = architecture
        self.machineType = machineType ?? architecture.machineType
        self.cpuModel = cpuModel ?? architecture.cpuModel
        self.cores = cores
        self.memory = memory
        self.disks = disks
        self.boot = boot
        self.sound = sound
        self.macAddress = macAddress
        self.generationID = generationID
    }

    package var memoryUnits: Int { Unit.count(ofBytes: memory) }
}

extension MachineDefinition {
    /// More cores than this are of no use to one person's desktop, and each costs state.
    private static let coresMax = 64
    /// What goes onto QEMU's command line must not be able to say more than its own value: no commas, no spaces.
    private static let wordLetters = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:")
    private static let megabyte: UInt64 = 1 << 20
    /// CPU models that are something else on every device.
    private static let unportableModels: Set<String> = ["host", "max"]

    /// Checks everything that a peer may have sent.
    /// - Throws: `invalidInput` naming the field.
    package func validate() throws(VMSyncError) {
        try Self.check(machineType, is: "machine type")
        try Self.check(cpuModel, is: "CPU model")
        guard !Self.unportableModels.contains(cpuModel) else {
            throw VMSyncError(
                .invalidInput, "the CPU model \"\(cpuModel)\" is another one on each device",
                hint: "name one that all have")
        }
        try Self.check(macAddress, is: "MAC address")
        try Self.check(generationID, is: "generation id")
        guard (1...Self.coresMax).contains(cores) else {
            throw VMSyncError(.invalidInput, "\(cores) cores: a VM has 1 to \(Self.coresMax)")
        }
        guard memory >= 16 * Self.megabyte, memory <= Limits.memoryMax, memory % Self.megabyte == 0 else {
            throw VMSyncError(.invalidInput, "\(memory) bytes of memory: give a whole number of MiB, at least 16")
        }
        guard (1...Limits.disksMax).contains(disks.count) else {
            throw VMSyncError(.invalidInput, "\(disks.count) disks: a VM has 1 to \(Limits.disksMax)")
        }
        for disk in disks where disk.size == 0 || disk.size % 512 != 0 || disk.size > Limits.diskMax {
            throw VMSyncError(
                .invalidInput, "\(disk.size) bytes can't be the size of a disk: a multiple of 512 up to 16 TiB")
        }
        if let boot, boot.commandLine.utf8.count > 2048 || boot.commandLine.contains("\0") {
            throw VMSyncError(.invalidInput, "the kernel's command line is longer than 2048 bytes or holds a NUL")
        }
    }

    private static func check(_ word: String, is what: String) throws(VMSyncError) {
        guard !word.isEmpty, word.utf8.count <= 64, word.allSatisfy(wordLetters.contains) else {
            throw VMSyncError(.invalidInput, "\"\(word)\" can't be a \(what)")
        }
    }
}
