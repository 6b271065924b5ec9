import Foundation
import NIOPosix
import QMP
import VMSyncCore

extension Machine {
    /// Of a screen of 8,192 × 4,320 pixels; of a larger one there is no picture.
    private static let pictureBytesMax = 8192 * 4320 * 3 + 64

    /// What the guest's screen shows, also while the guest is paused.
    /// - Throws: `machine` if there is none, or QEMU wrote something else than a picture.
    package func screen() async throws -> Picture {
        // One of its own, for several may be drawn at once.
        let path = "\(paths.run)/\(MachinePaths.screenPrefix)\(Identifier.random())"
        defer { AtomicFile.remove(path) }
        try await during("drawing the screen") { _ = try await self.qmp.execute(QMPScreendump(filename: path)) }
        return try await NIOThreadPool.singleton.runIfActive {
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            let bytes = Array(try file.read(upToCount: Self.pictureBytesMax) ?? Data())
            return try Picture(portablePixmap: bytes)
        }
    }

    /// Removes pictures that an earlier daemon was killed over.
    package static func removeScreens(of paths: MachinePaths) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: paths.run)) ?? []
        for name in names where name.hasPrefix(MachinePaths.screenPrefix) { AtomicFile.remove("\(paths.run)/\(name)") }
    }
}
