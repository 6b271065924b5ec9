import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncReplica

/// What is on its way to the server goes straight to devices in the same house too. (docs/protocol/direct.md, "Between switches")
extension VMHost {
    /// Seconds. What the server has sooner, the others have from it as soon.
    private static let sharedFrom = 0.5
    /// A device that answers later isn't in the same house: what it is sent might take the way that the upload takes.
    private static let nearby = Duration.milliseconds(100)

    /// The newest checkpoint that the active device has sent straight here, if the server doesn't have it.
    var newestShared: SealedCheckpoint? {
        guard let newest = waitingCheckpoints.last, record.holder != nil, record.holder != me,
            newest.epoch.leads(to: record.epoch), newest.sequence > record.head?.sequence ?? .base
        else { return nil }
        return newest
    }

    /// Sends what waits here to the devices that follow and are near, if `bytes` of it take the server long. Ends early when it is
    /// cancelled.
    func share(_ bytes: Int) async {
        guard sync.up.link.seconds(for: Double(bytes)).mean > Self.sharedFrom else { return }
        for (standing, note) in standings where standing.device != me && note?.follows == true {
            let start = ContinuousClock.now
            guard let (peer, there) = await environment.links.peer(standing.device, for: id), there.obstacle == nil,
                ContinuousClock.now - start < Self.nearby, !Task.isCancelled
            else { continue }
            do { try await push(to: peer, after: there.held) } catch {
                logger.debug("not shared: \(VMSyncError(error).message)")
            }
        }
    }
}
