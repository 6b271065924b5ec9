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
        let message = try await common.withDaemon { try await $0.thumbnail(target.checkpoint, of: target.vm) }
        let (sequence, picture) = (message.sequence, try message.picture)
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

    private struct Written: Encodable {
        let checkpoint: Sequence
        let width: Int
        let height: Int
        let file: String
    }
}

extension ControlClient {
    /// - Parameter checkpoint: by number, by tag, or `latest`.
    func thumbnail(_ checkpoint: String, of vm: VMArgument) async throws -> PictureMessage {
        let safe = checkpoint.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? checkpoint
        return try await get(vm.path("thumbnails/\(safe)"), as: PictureMessage.self)
    }
}
