import Foundation
import QMP
import Testing

@Suite("A QEMU that stops answering, or dies", .timeLimit(.minutes(1)))
struct QMPDeadPeerTests {
    @Test func killedInTheMiddleOfCommandsFailsAllOfThemAndEndsTheEvents() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            let client = try await qemu.connect()
            let events = client.events()
            // Stopped, QEMU can't answer; so the commands are in flight when it dies.
            qemu.send(signal: SIGSTOP)
            let commands = (0..<8).map { _ in Task { try await client.execute(QMPQueryStatus()) } }
            qemu.send(signal: SIGKILL)
            for command in commands {
                await #expect { try await command.value } throws: { error in
                    guard case QMPError.closed = error else { return false }
                    return true
                }
            }
            #expect(await events.collect().isEmpty)
            await client.waitClosed()
            #expect(client.isClosed)
            await #expect(throws: QMPError.self) { try await client.execute(QMPQueryStatus()) }
            #expect(await client.events().collect().isEmpty)
        }
    }

    @Test func aCommandTimesOutAndItsLateAnswerHarmsNobody() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            let client = try await qemu.connect()
            qemu.send(signal: SIGSTOP)
            await #expect(throws: QMPError.timedOut(command: "query-status")) {
                try await client.execute(QMPQueryStatus(), timeout: .milliseconds(50))
            }
            qemu.send(signal: SIGCONT)
            #expect(try await client.execute(QMPQueryVersion()) == client.version)
        }
    }

    @Test func aCancelledTaskStopsWaiting() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            let client = try await qemu.connect()
            qemu.send(signal: SIGSTOP)
            let command = Task { try await client.execute(QMPQueryStatus(), timeout: .seconds(30)) }
            command.cancel()
            await #expect(throws: CancellationError.self) { try await command.value }
            qemu.send(signal: SIGCONT)
            #expect(try await client.execute(QMPQueryVersion()) == client.version)
        }
    }

    @Test func aTaskCancelledWhileItsCommandIsInFlightStopsWaiting() async throws {
        let (arrivals, arrival) = AsyncStream.makeStream(of: Int.self)
        let peer = HostilePeer(onCommand: { id in
            arrival.yield(id)
            return .stayQuiet
        })
        try await peer.withClient { client in
            let command = Task { try await client.execute(QMPStop(), timeout: .seconds(30)) }
            #expect(await arrivals.first { _ in true } != nil)
            command.cancel()
            await #expect(throws: CancellationError.self) { try await command.value }
            #expect(!client.isClosed)
        }
    }

    @Test func aPeerThatDoesNotReadGetsNoMoreCommands() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            let client = try await qemu.connect()
            qemu.send(signal: SIGSTOP)
            let long = QMPHumanMonitorCommand(String(repeating: "x", count: 1 << 20))
            var errors: [QMPError] = []
            for _ in 0..<3 {
                do {
                    _ = try await client.execute(long, timeout: .milliseconds(20))
                } catch let error as QMPError {
                    errors.append(error)
                }
            }
            // The first fills the socket and what NIO keeps; nothing is kept after it.
            let refused = QMPError.busy(command: "human-monitor-command")
            #expect(errors == [.timedOut(command: "human-monitor-command"), refused, refused])
        }
    }

    @Test func closingFailsTheCommandsInFlight() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            let client = try await qemu.connect()
            qemu.send(signal: SIGSTOP)
            let command = Task { try await client.execute(QMPQueryStatus()) }
            await client.close()
            await client.close()
            await #expect(throws: QMPError.closed(reason: "closed on this side")) { try await command.value }
        }
    }

    @Test func aClientThatNobodyHoldsClosesItsConnection() async throws {
        try await QEMU.with(QEMU.noMachine) { qemu in
            var client: QMPClient? = try await qemu.connect()
            let events = try #require(client).events()
            client = nil
            #expect(await events.collect().isEmpty)
        }
    }
}
