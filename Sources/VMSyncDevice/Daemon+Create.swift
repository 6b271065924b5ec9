import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// Making a new VM from a person's disk image.
extension Daemon {
    /// Imports the images, uploads what the server lacks, and registers the VM. Broken off, nothing is registered, and the
    /// next try sends only what hasn't arrived.
    nonisolated func create(_ request: CreateRequest, progress: @escaping ProgressHandler) async throws -> String {
        let name = try await newName(request.name)
        let machine = try definition(for: request, diskSize: try await DiskImage.inspect(request.disk).virtual)
        if let obstacle = environment.capabilities.reasonAgainst(machine, savedBy: nil) { throw obstacle }
        var chunks: Set<ContentHash> = []
        func keep(_ imported: (ImageReference, [ContentHash])) -> ImageReference {
            chunks.formUnion(imported.1)
            return imported.0
        }
        let images = environment.images
        let disk = keep(try await images.importDisk(request.disk, progress: progress))
        let kernel = try await request.kernel.asyncMap { keep(try await images.importFile($0, progress: progress)) }
        let initrd = try await request.initrd.asyncMap { keep(try await images.importFile($0, progress: progress)) }
        let description = VMDescription(name: name, machine: machine, disks: [disk], kernel: kernel, initrd: initrd)
        let id = VMID.random()
        try await account.makeKey(of: .vm(id))
        await accept(try await register(id, description, chunks: chunks.sorted { $0.rawValue < $1.rawValue }))
        return name
    }

    /// Makes a VM on the server. Its key is there, and so are the chunks.
    nonisolated func register(
        _ id: VMID, _ description: VMDescription, chunks: [ContentHash]
    ) async throws -> VMRecord {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let encrypted = try account.encrypt(try encoder.encode(description), .vm(id), of: .vm(id))
        return try await client.createVM(id, description: Data(encrypted), chunks: chunks)
    }

    /// - Throws: `alreadyExists` unless no VM is called so.
    nonisolated func newName(_ name: String) async throws -> String {
        let name = try Name.checked(name, of: "VM")
        guard await !isTaken(name) else {
            throw VMSyncError(.alreadyExists, "there is a VM \"\(name)\" already", hint: "choose another name")
        }
        return name
    }

    private nonisolated func definition(
        for request: CreateRequest, diskSize: UInt64
    ) throws(VMSyncError) -> MachineDefinition {
        guard let architecture = MachineDefinition.Architecture(rawValue: request.architecture) else {
            let known = MachineDefinition.Architecture.allCases.map(\.rawValue).joined(separator: ", ")
            throw VMSyncError(.invalidInput, "\"\(request.architecture)\" is no architecture: use \(known)")
        }
        let boot = request.kernel.map { _ in
            MachineDefinition.DirectBoot(hasInitrd: request.initrd != nil, commandLine: request.commandLine ?? "")
        }
        let definition = MachineDefinition(
            architecture: architecture, cpuModel: request.cpuModel, cores: request.cores, memory: request.memory,
            disks: [.init(size: diskSize)], boot: boot, sound: request.sound ? .hda : nil, macAddress: Self.randomMAC(),
            generationID: UUID().uuidString.lowercased())
        try definition.validate()
        return definition
    }

    /// In QEMU's own range, so that it meets no real card.
    static func randomMAC() -> String {
        "52:54:00" + (0..<3).map { _ in String(format: ":%02x", UInt8.random(in: 0...255)) }.joined()
    }
}

extension Optional {
    /// `map` whose transform may wait.
    fileprivate func asyncMap<Result>(_ transform: (Wrapped) async throws -> Result) async rethrows -> Result? {
        if let self { try await transform(self) } else { nil }
    }
}
