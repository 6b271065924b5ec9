import Foundation
import NIOCore
import NIOPosix
import Testing
import VMSyncCore
import VMSyncMachine
import VMSyncStudy

/// Against the kernel itself. Only root may make networks, so elsewhere these tests are reported as skipped, which
/// continuous integration counts as failed.
@Suite("A slow link to a far side", .enabled(if: geteuid() == 0, "only root can make a network"))
struct ShapedLinkTests {
    private func far(_ link: ShapedLink, _ command: String...) async throws -> String {
        try await QEMUTool.run("env", link.farCommand(command), package: "util-linux")
    }

    @Test("the far side is a network of its own, reached by its address, and every byte to it is counted")
    func countsBytes() async throws {
        try await ShapedLink.with { link in
            // The far side's cards: loopback and its end of the cable.
            let cards = try await far(link, "cat", "/proc/net/dev")
            #expect(cards.split(separator: "\n").count == 4)
            #expect(cards.contains("far:") && cards.contains("lo:"))

            let payload = 1 << 20
            let receiver = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(host: link.nearAddress, port: 0).get()
            let before = try link.bytes()
            let port = try #require(receiver.localAddress?.port)
            _ = try await far(link, "bash", "-c", "head -c \(payload) /dev/zero > /dev/tcp/\(link.nearAddress)/\(port)")
            // Who has written it all into a socket is done before the last of it has gone.
            let sent = try await waitFor("all of it to be sent") {
                let sent = try link.bytes() - before
                return sent >= payload ? sent : nil
            }
            // Headers and answers, and no second copy of it all.
            #expect(sent < payload * 3 / 2)
            try await receiver.close()
        }
    }

    @Test("it is slowed down at both ends, and once more when the rate changes")
    func slowsDown() async throws {
        try await ShapedLink.with { link in
            for rate in [100, 20] {
                try await link.slowDown(toMegabits: rate)
                for namespace in [[], ["-n", link.namespace]] {
                    let shape = try await QEMUTool.run("tc", namespace + ["qdisc", "show"], package: "iproute2")
                    #expect(shape.contains("tbf"))
                    #expect(shape.contains("rate \(rate)Mbit"))
                }
            }
        }
    }

    @Test("what is under way when the rate changes is lost, but not what comes after it")
    func slowsDownWhileBusy() async throws {
        try await ShapedLink.with { link in
            try await link.slowDown(toMegabits: 100)
            let receiver = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(host: link.nearAddress, port: 0).get()
            let port = try #require(receiver.localAddress?.port)
            let sending = Task {
                try? await far(
                    link, "timeout", "60", "bash", "-c",
                    "exec cat /dev/zero > /dev/tcp/\(link.nearAddress)/\(port)")
            }
            for rate in [0.4, 100, 0.4] {
                try await link.slowDown(toMegabits: rate, back: rate)
                let before = try link.bytes()
                // More than was on its way already.
                _ = try await waitFor("more to come") { try link.bytes() > before + 200_000 ? true : nil }
            }
            try await receiver.close()
            sending.cancel()
            _ = await sending.value
        }
    }

    @Test("nothing of it is left when what it was made for fails")
    func leavesNothing() async throws {
        struct Broken: Error {}
        var made: ShapedLink?
        await #expect(throws: Broken.self) {
            try await ShapedLink.with { link in
                made = link
                #expect(FileManager.default.fileExists(atPath: link.path))
                throw Broken()
            }
        }
        let link = try #require(made)
        #expect(!FileManager.default.fileExists(atPath: link.path))
        #expect(throws: VMSyncError.self) { try link.bytes() }
    }

    @Test("nothing of it is left when it is cancelled")
    func leavesNothingWhenCancelled() async throws {
        let (links, announce) = AsyncStream.makeStream(of: ShapedLink.self)
        let task = Task {
            try await ShapedLink.with { link in
                announce.yield(link)
                try await Task.sleep(for: .seconds(3600))
            }
        }
        var iterator = links.makeAsyncIterator()
        let link = try #require(await iterator.next())
        task.cancel()
        _ = await task.result
        #expect(!FileManager.default.fileExists(atPath: link.path))
        #expect(throws: VMSyncError.self) { try link.bytes() }
    }
}
