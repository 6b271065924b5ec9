import Foundation
import VMSyncCore
import VMSyncPolicy

/// Work that was done here under an epoch that was over: a fork that nobody runs yet. `forks/ID/late.json` in the VM's
/// folder, beside the packs. (docs/protocol/lost-devices.md, "It comes back")
struct LateWork: Sendable, Codable {
    /// Epoch and parent: what was done under one epoch after one checkpoint is one fork, however often it is put aside.
    let id: String
    /// The checkpoint of the VM's history that it follows.
    let parent: Sequence
    /// Names of the packs, in order; the first leads from the parent.
    let packs: [String]
    /// The last moment in it, in seconds since 1970 by this device's clock.
    let until: Double
    /// Why it doesn't reach up to the moment at which the guest was paused, if so.
    let missing: String?

    static let noteName = "late.json"
    static let pictureName = "screen"

    /// What is kept in `folder`, the oldest first. What is no fork, or was not finished, is left alone.
    static func all(in folder: String) -> [LateWork] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.compactMap { try? AtomicFile.read(LateWork.self, at: "\(folder)/\($0)/\(noteName)") }
            .filter { late in ([late.id] + late.packs).allSatisfy { (try? Name.checked($0, of: "fork")) != nil } }
            .sorted { $0.until < $1.until }
    }
}
