import RFB
import VMSyncCore
import VMSyncMachine

/// The film that the desktop plays while it moves.
enum Film {
    /// A film of 640 × 360 changes most of its 230,000 pixels within the time between two looks; a clock, a blinking cursor
    /// or a moving pointer change a few hundred.
    private static let pixelsMoving = 20_000
    private static let look = Duration.milliseconds(500)
    /// Longer than the film needs to begin anew on a busy host.
    private static let patience = Duration.seconds(20)

    /// Waits for the desktop of a guest that was just booted, and starts the film. It goes on for ever.
    static func start(on paths: MachinePaths) async throws {
        try await PageServer.with { pages in
            let desk = Desk(paths, pages: pages)
            try await DesktopSession.waitForDesktop(desk)
            var session = try DesktopSession.named("video", seed: 1)
            try await session.prepare(on: desk)
        }
    }

    /// Whether the screen moves as a film does.
    static func isPlaying(on paths: MachinePaths) async throws -> Bool {
        let screen = try await RFBClient.connect(path: paths.vnc)
        let result: Result<Bool, any Error>
        do { result = .success(try await moves(screen)) } catch { result = .failure(error) }
        await screen.close()
        return try result.get()
    }

    private static func moves(_ screen: RFBClient) async throws -> Bool {
        let deadline = ContinuousClock.now + patience
        var last = try await screen.screen()
        while ContinuousClock.now < deadline {
            try await Task.sleep(for: look)
            let next = try await screen.screen()
            if next.pixelsDifferent(from: last) >= pixelsMoving { return true }
            last = next
        }
        return false
    }
}
