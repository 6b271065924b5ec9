import Foundation
import VMSyncAPI
import VMSyncCore

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

    /// The order that makes a VM of it.
    package func order(_ name: String) -> CreateRequest {
        func path(_ file: String) -> String { URL(fileURLWithPath: "\(folder)/\(file)").standardizedFileURL.path }
        return CreateRequest(
            name: name, disk: path(description.disk), memory: description.memory_mb << 20,
            cores: description.cores ?? 1,
            architecture: description.arch, cpuModel: nil, kernel: path(description.kernel),
            initrd: path(description.initrd), commandLine: description.append,
            sound: description.sound ?? false)
    }
}
