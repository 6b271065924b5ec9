import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncSecrets

/// Pictures of the guest's screen, by which a person knows a checkpoint again. (docs/protocol/history.md, "Thumbnails")
extension VMHost {
    /// While the guest runs: some kilobytes a minute.
    private static let thumbnailInterval = Duration.seconds(60)
    /// What one takes at most, nearly always.
    private static let thumbnailBytes = 50_000.0

    /// Sends one with a checkpoint that the server has just got, if it is time for one and nobody waits for anything.
    func sendThumbnailIfDue(of sequence: Sequence) {
        guard nextThumbnail <= .now, approach == nil, machineState == .running,
            bytesForOthers >= Self.thumbnailBytes, let drawing = drawScreen()
        else {
            return
        }
        send(drawing, of: sequence)
    }

    /// Begins to draw the screen, beside everything else.
    func drawScreen() -> Task<Picture, any Error>? {
        machine.map { machine in Task { try await machine.screen() } }
    }

    /// Sends what was drawn, beside everything else. Without it nothing is lost, so that it isn't tried again.
    func send(_ drawing: Task<Picture, any Error>, of sequence: Sequence) {
        nextThumbnail = .now + Self.thumbnailInterval
        let (id, account, client, logger) = (id, account, environment.client, logger)
        thumbnailSending = Task.detached {
            do {
                let bytes = try Thumbnail.encode(try await drawing.value)
                let encrypted = try account.encrypt(bytes, .thumbnail(id, sequence), of: .vm(id))
                try await client.setThumbnail(encrypted, of: sequence, of: id)
            } catch {
                logger.debug("checkpoint \(sequence) has no thumbnail: \(VMSyncError(error).message)")
            }
        }
    }
}
