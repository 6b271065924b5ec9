import Foundation
import VMSyncCore
import VMSyncMachine

/// What `qemu-img` says of a file.
enum DiskImage {
    private struct Info: Decodable {
        let format: String
        let virtualSize: UInt64
        let actualSize: UInt64?
        let backingFilename: String?

        enum CodingKeys: String, CodingKey {
            case format
            case virtualSize = "virtual-size"
            case actualSize = "actual-size"
            case backingFilename = "backing-filename"
        }
    }

    /// Formats that people have. A raw image has no mark of its own, so any file passes for one: it must at least be
    /// whole sectors and not empty.
    private static let formats: Set<String> = [
        "raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc", "qcow", "qed", "parallels",
    ]

    /// - Returns: bytes of the disk, and bytes that the image takes now.
    /// - Throws: `notFound`; `invalidInput` if `file` can't be a disk.
    static func inspect(_ file: String) async throws -> (virtual: UInt64, allocated: UInt64) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: file, isDirectory: &isFolder) else {
            throw VMSyncError(.notFound, "there is no \(file)")
        }
        guard !isFolder.boolValue, FileManager.default.isReadableFile(atPath: file) else {
            throw VMSyncError(.invalidInput, "\(file) can't be read as a disk image")
        }
        let hint = "give a disk image: qcow2, raw, vmdk, vdi or vhdx"
        let text: String
        do {
            text = try await QEMUTool.run("qemu-img", ["info", "--output=json", file], package: "qemu-utils")
        } catch let error as VMSyncError where error.hint == nil {
            throw VMSyncError(.invalidInput, "\(file) is no disk image: \(error.message)", hint: hint)
        }
        let info = try JSONDecoder().decode(Info.self, from: Data(text.utf8))
        let length = (try? FileManager.default.attributesOfItem(atPath: file)[.size] as? UInt64) ?? 0
        guard formats.contains(info.format), info.virtualSize >= 512,
            info.format != "raw" || length % 512 == 0
        else {
            throw VMSyncError(.invalidInput, "\(file) is no disk image (\(info.format), \(length) bytes)", hint: hint)
        }
        return (info.virtualSize, info.actualSize ?? info.virtualSize)
    }
}
