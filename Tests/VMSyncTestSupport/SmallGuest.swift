import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// The files of the small guest (guests/small), built once and kept in the build folder.
package struct SmallGuest: Sendable {
    package let architecture: MachineDefinition.Architecture
    package let kernel: String
    package let initrd: String
    package let disk: String
    private let description: Description

    /// guest.json
    private struct Description: Decodable {
        let memory_mb: UInt64
        let kernel: String
        let initrd: String
        let disk: String
        let append: String
    }

    /// Finds the guest, or builds it; two builds at once wait for each other.
    package static func find(_ architecture: MachineDefinition.Architecture) async throws -> SmallGuest {
        let guests = ProcessInfo.processInfo.environment["VMSYNC_GUESTS"] ?? Repository.path + "/.build/guests"
        let folder = "\(guests)/\(architecture.rawValue)"
        if !FileManager.default.fileExists(atPath: folder + "/stamp") {
            try await QEMUTool.run(
                Repository.path + "/guests/small/build.sh", [architecture.rawValue, folder], package: "make")
        }
        return try SmallGuest(architecture, folder)
    }

    private init(_ architecture: MachineDefinition.Architecture, _ folder: String) throws {
        guard let description = try AtomicFile.read(Description.self, at: folder + "/guest.json") else {
            throw VMSyncError(.notFound, "there is no guest in \(folder)", hint: "make guests")
        }
        self.architecture = architecture
        self.description = description
        kernel = "\(folder)/\(description.kernel)"
        initrd = "\(folder)/\(description.initrd)"
        disk = "\(folder)/\(description.disk)"
    }

    /// The machine that runs it, of the size of its disk.
    package func definition(generationID: String = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87") throws -> MachineDefinition {
        let attributes = try FileManager.default.attributesOfItem(atPath: disk)
        let size = (attributes[.size] as? UInt64) ?? 0
        return .sample(
            architecture, memory: description.memory_mb << 20, disks: [size],
            boot: .init(hasInitrd: true, commandLine: description.append))
    }

    package var bootFiles: QEMUArguments.BootFiles { .init(kernel: kernel, initrd: initrd) }
}

/// The files that the tests come from.
package enum Repository {
    /// The folder of Package.swift.
    package static let path: String = {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { url.deleteLastPathComponent() }
        return url.path
    }()
}
