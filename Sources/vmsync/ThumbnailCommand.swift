import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore

struct ThumbnailCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "thumbnail", abstract: "Show what was on the screen at a checkpoint.",
        discussion: """
            Not every checkpoint has a picture: the last one before the VM was suspended has, and one a minute while it ran.

              vmsync thumbnail work@1234
              vmsync thumbnail work@before-upgrade --output screen.png
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var target: CheckpointArgument
    @Option(help: ArgumentHelp("Write a PNG file.", valueName: "file")) var output: String?

    func validate() throws {
        guard output != nil || Terminal.isOutput && !common.json else {
            throw ValidationError("without a terminal to draw on, say --output FILE")
        }
    }

    func run() async throws {
        let (sequence, picture) = try await common.withDaemon { client in
            let entries = try await client.get(target.vm.path("history"), as: [HistoryEntry].self)
            let entry = try find(target.checkpoint, in: entries)
            return (entry.sequence, try await client.thumbnail(target.vm, entry.sequence))
        }
        guard let output else { return Terminal.draw(picture) }
        do {
            try Data(picture.png).write(to: URL(fileURLWithPath: output))
        } catch {
            throw VMSyncError(.io, "\(output) can't be written: \(error.localizedDescription)")
        }
        if common.json {
            return try Output.json(
                Written(checkpoint: sequence, width: picture.width, height: picture.height, file: output))
        }
        Output.line("checkpoint \(sequence): \(picture.width) × \(picture.height) pixels in \(output)")
    }

    /// Of several with a picture, `latest` is the newest of them.
    private func find(_ checkpoint: String, in entries: [HistoryEntry]) throws(VMSyncError) -> HistoryEntry {
        let found =
            checkpoint == "latest"
            ? entries.last { $0.hasThumbnail }
            : entries.last { $0.tag == checkpoint } ?? entries.last { "\($0.sequence)" == checkpoint }
        guard let found else {
            throw VMSyncError(
                .notFound, "\(target.vm.name) has no checkpoint \"\(checkpoint)\" with a picture",
                hint: "vmsync history \(target.vm.name)")
        }
        return found
    }

    private struct Written: Encodable {
        let checkpoint: Sequence
        let width: Int
        let height: Int
        let file: String
    }
}

extension ControlClient {
    func thumbnail(_ vm: VMArgument, _ sequence: Sequence) async throws -> Picture {
        try await get(vm.path("thumbnails/\(sequence)"), as: PictureMessage.self).picture
    }
}
