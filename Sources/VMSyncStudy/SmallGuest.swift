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

/// The guest that `guests/small/build.sh` makes.
package struct SmallGuest: Sendable {
    private struct Description: Decodable {
        let arch: String
        let memory_mb: UInt64
        let cores: Int?
        let sound: Bool?
        let kernel: String
        let initrd: String
        let disk: String
        let append: String
    }

    package let folder: String
    private let description: Description

    /// - Parameter folder: by default where `make guests` puts the guest of `architecture`.
    /// - Throws: `notFound` if it wasn't built.
    package init(architecture: String = "x86_64", folder: String? = nil) throws(VMSyncError) {
        let guests = ProcessInfo.processInfo.environment["VMSYNC_GUESTS"] ?? ".build/guests"
        self.folder = folder ?? "\(guests)/\(architecture)"
        guard let found = try AtomicFile.read(Description.self, at: self.folder + "/guest.json") else {
            throw VMSyncError(.notFound, "there is no guest in \(self.folder)", hint: "make guests")
        }
        description = found
    }

    package var disk: String { path(description.disk) }
    package var bootFiles: QEMUArguments.BootFiles {
        QEMUArguments.BootFiles(kernel: path(description.kernel), initrd: path(description.initrd))
    }

    /// The machine that runs it, for what does without a daemon.
    package func definition() throws(VMSyncError) -> MachineDefinition {
        guard let architecture = MachineDefinition.Architecture(rawValue: description.arch) else {
            throw VMSyncError(.corrupt, "\(folder)/guest.json names no architecture: \(description.arch)")
        }
        var status = stat()
        guard stat(disk, &status) == 0 else { throw .system("stat", path: disk) }
        return MachineDefinition(
            architecture: architecture, cores: description.cores ?? 1, memory: description.memory_mb << 20,
            disks: [.init(size: UInt64(status.st_size))], boot: .init(hasInitrd: true, commandLine: description.append),
            sound: description.sound ?? false ? .hda : nil, macAddress: "52:54:00:00:00:01",
            generationID: "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87")
    }

    private func path(_ file: String) -> String { URL(fileURLWithPath: "\(folder)/\(file)").standardizedFileURL.path }

    /// The order that makes a VM of it.
    package func order(_ name: String) -> CreateRequest {
        CreateRequest(
            name: name, disk: disk, memory: description.memory_mb << 20,
            cores: description.cores ?? 1,
            architecture: description.arch, cpuModel: nil, kernel: path(description.kernel),
            initrd: path(description.initrd), commandLine: description.append,
            sound: description.sound ?? false)
    }
}
