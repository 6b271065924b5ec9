import Foundation
import QMP
import Testing

@Suite("A QMP client and a real QEMU", .timeLimit(.minutes(1)))
struct QMPClientTests {
    @Test func greetingTellsTheSameVersionAsTheQuery() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            let client = try await qemu.connect()
            #expect(client.version.major >= 7)
            #expect(try await client.execute(QMPQueryVersion()) == client.version)
            #expect(!client.isClosed)
        }
    }

    @Test func contAndStopChangeTheRunState() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            #expect(try await client.execute(QMPQueryStatus()).status == .prelaunch)
            _ = try await client.execute(QMPContinue())
            let running = try await client.execute(QMPQueryStatus())
            #expect(running.running && running.status == .running)
            _ = try await client.execute(QMPStop())
            let paused = try await client.execute(QMPQueryStatus())
            #expect(!paused.running && paused.status == .paused)
        }
    }

    @Test func everySubscriberSeesEachEventInOrder() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            let streams = [client.events(), client.events()]
            _ = try await client.execute(QMPContinue())
            _ = try await client.execute(QMPSystemPowerdown())
            _ = try await client.execute(QMPSystemReset())
            _ = try await client.execute(QMPStop())
            await client.close()
            for stream in streams {
                let events = await stream.collect()
                let kinds = events.map(\.kind).filter { $0 != .reset(guest: true, reason: "guest-reset") }
                #expect(
                    kinds == [.resume, .powerdown, .reset(guest: false, reason: "host-qmp-system-reset"), .stop])
                #expect(events.map(\.number) == Array(1...UInt64(events.count)))
                #expect(events.allSatisfy { $0.timestamp.seconds > 1_600_000_000 })
            }
        }
    }

    @Test func aRefusalSaysWhoRefusedAndWhy() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            await #expect(
                throws: QMPError.refused(
                    command: "set_link", errorClass: "DeviceNotFound", description: "Device 'eth9' not found")
            ) { try await client.execute(QMPSetLink("eth9", up: false)) }
            await #expect {
                try await client.execute(NoSuchCommand())
            } throws: { error in
                guard case QMPError.refused("x-no-such", "CommandNotFound", _) = error else { return false }
                return true
            }
            #expect(!client.isClosed)
        }
    }

    @Test func answersFindTheirCommandsWhenManyAreInFlight() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<QMPLimits.pendingMax {
                    group.addTask {
                        // The monitor echoes what it doesn't know, so that each answer is told from the others.
                        let text = try await client.execute(QMPHumanMonitorCommand("zz\(number)"))
                        #expect(text.contains("'zz\(number)'"))
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func aSecondClientOfTheSameSocketTimesOut() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            let first = try await qemu.connect()
            await #expect(throws: QMPError.timedOut(command: "connect")) {
                try await QMPClient.connect(path: qemu.socket, logger: .quiet, timeout: .milliseconds(100))
            }
            _ = try await first.execute(QMPQueryStatus())
            await first.close()
            let next = try await qemu.connect()
            _ = try await next.execute(QMPQueryStatus())
        }
    }

    @Test func quitIsToldByAnEventAndEndsTheConnection() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            let events = client.events()
            // The answer races with QEMU's exit.
            do { _ = try await client.execute(QMPQuit()) } catch QMPError.closed {}
            await client.waitClosed()
            #expect(await events.collect().last?.kind == .shutdown(guest: false, reason: "host-qmp-quit"))
            #expect(client.isClosed)
        }
    }

    @Test func connectingWhereNobodyListensFails() async throws {
        let directory = try Scratch.make()
        defer { Scratch.remove(directory) }
        let tooLongPath = directory + "/" + String(repeating: "x", count: 200)
        for path in [directory + "/none", directory, tooLongPath] {
            await #expect {
                try await QMPClient.connect(path: path, logger: .quiet)
            } throws: { error in
                guard case QMPError.closed(let reason) = error else { return false }
                return reason.contains(path)
            }
        }
    }
}

private struct NoSuchCommand: QMPCommand {
    static let name = "x-no-such"
}

extension AsyncStream {
    /// All elements up to the stream's end.
    func collect() async -> [Element] {
        await reduce(into: []) { $0.append($1) }
    }
}
