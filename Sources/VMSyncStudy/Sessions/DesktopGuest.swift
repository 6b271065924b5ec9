import Foundation
import VMSyncCore

/// The guest that `guests/desktop/build.sh` makes: its files, for making a VM of it as of the small one, and the packages
/// of the "install" session.
package struct DesktopGuest: Sendable {
    package let guest: SmallGuest
    /// Folder of the packages, for `PageServer.start`.
    package let packageFolder: String
    /// Their file names, for `DesktopSession.named`.
    package let packages: [String]

    /// - Parameter folder: by default where `make guest-desktop` puts it.
    /// - Throws: `notFound` if it wasn't built.
    package init(folder: String? = nil) throws(VMSyncError) {
        do { guest = try SmallGuest(architecture: "desktop", folder: folder) } catch {
            throw VMSyncError(error.code, error.message, hint: "make guest-desktop")
        }
        packageFolder = guest.folder + "/install"
        let files = (try? FileManager.default.contentsOfDirectory(atPath: packageFolder)) ?? []
        packages = files.filter { $0.hasSuffix(".deb") }.sorted()
    }
}
