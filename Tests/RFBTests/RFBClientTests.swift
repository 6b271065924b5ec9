import Foundation
import RFB
import Testing

@Suite("A viewer and a real QEMU", .timeLimit(.minutes(2)))
struct RFBClientTests {
    @Test("shows the firmware's screen, and what a key does to it")
    func screenAndKeys() async throws {
        try await ScreenQEMU.with { qemu in
            let viewer = try await qemu.connect()
            let first = try await viewer.firstWritten()
            #expect(first.rgb.count == first.width * first.height * 3)
            // A text screen: few colours, most of it black.
            #expect((2...32).contains(first.colours))
            // Any key at the firmware's failed boot starts it again, which clears the screen.
            let deadline = ContinuousClock.now + .seconds(60)
            var changed = 0
            while changed == 0, ContinuousClock.now < deadline {
                for down in [true, false] { try await viewer.key(Keysym.enter, down: down) }
                changed = try await viewer.screen().pixelsDifferent(from: first)
            }
            #expect(changed > 0)
            await viewer.close()
        }
    }

    @Test("two viewers share a screen and see the same")
    func shared() async throws {
        try await ScreenQEMU.with(paused: true) { qemu in
            let (one, other) = (try await qemu.connect(), try await qemu.connect())
            async let first = one.screen()
            async let second = other.screen()
            let (here, there) = (try await first, try await second)
            #expect(here == there)
            // Requests at once are answered one after the other.
            async let again = one.screen()
            async let oncemore = one.screen()
            #expect(try await again == here)
            #expect(try await oncemore == here)
        }
    }

    @Test("the end of QEMU ends the wait for a picture")
    func end() async throws {
        try await ScreenQEMU.with(paused: true) { qemu in
            let viewer = try await qemu.connect()
            _ = try await viewer.screen()
            qemu.kill()
            await #expect(throws: RFBError.self) {
                while true { _ = try await viewer.screen() }
            }
        }
    }

    @Test("where nobody listens, it says so")
    func nobody() async throws {
        await #expect {
            try await RFBClient.connect(path: "/nowhere/vnc")
        } throws: { error in
            guard case RFBError.closed(let reason) = error else { return false }
            return reason.contains("/nowhere/vnc")
        }
    }
}

/// A QEMU without a guest: its firmware writes on the screen that there is nothing to boot.
struct ScreenQEMU {
    private let process: Process
    private let folder: String

    static func with(paused: Bool = false, _ body: (ScreenQEMU) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/rfb-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "32", "-nodefaults", "-device", "VGA"]
            + ["-vnc", "unix:\(folder)/vnc"] + (paused ? ["-S"] : [])
        process.standardInput = FileHandle.nullDevice
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        process.terminationHandler = { _ in end.finish() }
        try process.run()
        let qemu = ScreenQEMU(process: process, folder: folder)
        let result: Result<Void, any Error>
        do { result = .success(try await body(qemu)) } catch { result = .failure(error) }
        qemu.kill()
        for await _ in ended {}
        try result.get()
    }

    func kill() {
        if process.isRunning { Foundation.kill(process.processIdentifier, SIGKILL) }
    }

    /// Connects, as soon as the QEMU that was just started listens.
    func connect() async throws -> RFBClient {
        let deadline = ContinuousClock.now + .seconds(30)
        while true {
            do { return try await RFBClient.connect(path: folder + "/vnc") } catch RFBError.closed
                where ContinuousClock.now < deadline
            {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }
}

extension RFBClient {
    /// The first picture that isn't of one colour.
    func firstWritten() async throws -> RFBImage {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let picture = try await screen()
            if picture.colours > 1 || ContinuousClock.now > deadline { return picture }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
