import QMP
import Testing

@Suite("A peer that means harm", .timeLimit(.minutes(1)))
struct HostilePeerTests {
    @Test func neverGreetingTimesOut() async throws {
        try await HostilePeer(onConnect: .stayQuiet).serve { path in
            await #expect(throws: QMPError.timedOut(command: "connect")) {
                try await QMPClient.connect(path: path, logger: .quiet, timeout: .milliseconds(50))
            }
        }
    }

    @Test func connectingIsCancelled() async throws {
        try await HostilePeer(onConnect: .stayQuiet).serve { path in
            let attempt = Task { try await QMPClient.connect(path: path, logger: .quiet, timeout: .seconds(30)) }
            attempt.cancel()
            await #expect(throws: CancellationError.self) { try await attempt.value }
        }
    }

    @Test func neverAnsweringTheNegotiationTimesOut() async throws {
        try await HostilePeer(onNegotiate: { _ in .stayQuiet }).serve { path in
            await #expect(throws: QMPError.timedOut(command: "connect")) {
                try await QMPClient.connect(path: path, logger: .quiet, timeout: .milliseconds(50))
            }
        }
    }

    @Test(arguments: [
        "\n", "garbage\n", "\u{0}\u{1}\u{ff}\n", "null\n", "[]\n", "{}\n", "{\"QMP\": 1}\n", "{\"QMP\": {}}\n",
        "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 1e99, \"minor\": 2, \"micro\": 0}, \"package\": \"\"}}}\n",
        HostilePeer.done(1), HostilePeer.greeting + HostilePeer.greeting,
        "{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}\n",
    ])
    func greetingWithWhatIsNotQMPIsMalformed(greeting: String) async throws {
        try await HostilePeer(onConnect: .say(greeting), onNegotiate: { _ in .stayQuiet }).serve { path in
            await #expect {
                try await QMPClient.connect(path: path, logger: .quiet)
            } throws: {
                $0.isMalformed
            }
        }
    }

    @Test(arguments: ["[", "{\"a\":"])
    func aDeeplyNestedGreetingIsMalformed(open: String) async throws {
        let greeting = String(repeating: open, count: 200_000) + "\n"
        try await HostilePeer(onConnect: .say(greeting)).serve { path in
            await #expect { try await QMPClient.connect(path: path, logger: .quiet) } throws: { $0.isMalformed }
        }
    }

    @Test(arguments: [0, 1, 40, HostilePeer.greeting.utf8.count])
    func closingDuringTheGreeting(length: Int) async throws {
        let part = String(HostilePeer.greeting.prefix(length))
        try await HostilePeer(onConnect: .sayAndClose(part)).serve { path in
            await #expect { try await QMPClient.connect(path: path, logger: .quiet) } throws: { $0.isClosed }
        }
    }

    @Test func closingDuringTheNegotiation() async throws {
        try await HostilePeer(onNegotiate: { _ in .sayAndClose("{\"ret") }).serve { path in
            await #expect { try await QMPClient.connect(path: path, logger: .quiet) } throws: { $0.isClosed }
        }
    }

    @Test(arguments: ["", "{", "{\"return\": {}, \"id\": "])
    func closingDuringAnAnswer(part: String) async throws {
        try await HostilePeer(onCommand: { _ in .sayAndClose(part) }).withClient { client in
            let events = client.events()
            await #expect { try await client.execute(QMPStop()) } throws: { $0.isClosed }
            #expect(await events.collect().isEmpty)
            #expect(client.isClosed)
        }
    }

    @Test func aLineWithoutEndIsTooLong() async throws {
        let flood = String(repeating: "x", count: QMPLimits.lineBytesMax + 1)
        try await HostilePeer(onCommand: { _ in .say(flood) }).withClient { client in
            await #expect(throws: QMPError.tooLong) { try await client.execute(QMPStop()) }
            await client.waitClosed()
        }
    }

    @Test func theLongestLineIsStillTaken() async throws {
        let (head, tail) = (#"{"return": ""#, #"", "id": 2}"#)
        let length = QMPLimits.lineBytesMax - head.utf8.count - tail.utf8.count
        let line = head + String(repeating: "x", count: length) + tail
        let peer = HostilePeer(onCommand: { _ in .say(line + "\n") })
        try await peer.withClient { client in
            let answer = try await client.execute(QMPHumanMonitorCommand(""))
            #expect(answer.utf8.count == length)
        }
        let longer = HostilePeer(onCommand: { _ in .say(line + " \n") })
        try await longer.withClient { client in
            await #expect(throws: QMPError.tooLong) { try await client.execute(QMPHumanMonitorCommand("")) }
        }
    }

    @Test func answersWithIDsOfNobodyAreIgnored() async throws {
        let invented = [0, 1, 77, Int.max].map(HostilePeer.done).joined()
        try await HostilePeer(onCommand: { .say(invented + HostilePeer.done($0)) }).withClient { client in
            _ = try await client.execute(QMPStop())
        }
        try await HostilePeer(onCommand: { .say(HostilePeer.done($0 + 1)) }).withClient { client in
            await #expect(throws: QMPError.timedOut(command: "stop")) {
                try await client.execute(QMPStop(), timeout: .milliseconds(50))
            }
            #expect(!client.isClosed)
        }
    }

    @Test(arguments: [
        #"{"return": {}}"#, #"{"return": {}, "id": "2"}"#, #"{"return": {}, "id": -2}"#, #"{"return": {}, "id": 2.5}"#,
        #"{"error": {"class": "GenericError", "desc": "JSON parse error"}}"#, #"{"error": 5, "id": 2}"#,
    ])
    func anAnswerThatNobodyCanPlaceEndsTheConnection(answer: String) async throws {
        try await HostilePeer(onCommand: { _ in .say(answer + "\n") }).withClient { client in
            await #expect { try await client.execute(QMPStop()) } throws: { $0.isMalformed }
            await client.waitClosed()
        }
    }

    @Test(arguments: [#"{"id": 2}"#, #"{"return": 5, "id": 2}"#, #"{"return": {"running": "yes"}, "id": 2}"#])
    func anAnswerOfTheWrongShapeFailsOnlyItsCommand(answer: String) async throws {
        let peer = HostilePeer(onCommand: { .say($0 == 2 ? answer + "\n" : HostilePeer.done($0)) })
        try await peer.withClient { client in
            await #expect { try await client.execute(QMPQueryStatus()) } throws: { $0.isMalformed }
            _ = try await client.execute(QMPStop())
        }
    }

    @Test(arguments: [("[", "]"), ("{\"a\":", "}")])
    func deepNestingIsMalformed(open: String, close: String) async throws {
        let depth = 200_000
        let nested = String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
        try await HostilePeer(onCommand: { .say(#"{"return": \#(nested), "id": \#($0)}"# + "\n") }).withClient {
            client in
            await #expect { try await client.execute(QMPStop()) } throws: { $0.isMalformed }
        }
    }

    @Test func aFloodOfEventsKeepsTheNewestAndDelaysNobody() async throws {
        let count = 100_000
        let event = #"{"event": "RTC_CHANGE", "data": {"offset": 1}, "timestamp": {"seconds": 1, "microseconds": 2}}"#
        let flood = String(repeating: event + "\n", count: count)
        try await HostilePeer(onCommand: { .say(flood + HostilePeer.done($0)) }).withClient { client in
            let events = client.events()
            _ = try await client.execute(QMPStop(), timeout: .seconds(50))
            await client.close()
            let kept = await events.collect()
            #expect(kept.map(\.number) == Array(UInt64(count - QMPLimits.eventsMax + 1)...UInt64(count)))
            #expect(kept.allSatisfy { $0.kind == .rtcChange(offset: 1) })
        }
    }

    @Test func strangeEventsAreDeliveredAsUnknown() async throws {
        let stamp = #""timestamp": {"seconds": -1, "microseconds": -1}"#
        let lines = [
            #"{"event": "NEWER_THAN_US", "data": {"x": [1]}, \#(stamp)}"#, #"{"event": "SHUTDOWN", \#(stamp)}"#,
            #"{"event": "MIGRATION", "data": {"status": 7}, \#(stamp)}"#,
            #"{"event": "MIGRATION", "data": {"status": "newer"}, \#(stamp)}"#,
        ]
        let text = lines.joined(separator: "\n") + "\n"
        try await HostilePeer(onCommand: { .say(text + HostilePeer.done($0)) }).withClient { client in
            let events = client.events()
            _ = try await client.execute(QMPStop())
            await client.close()
            #expect(
                await events.collect().map(\.kind) == [
                    .unknown(name: "NEWER_THAN_US"), .unknown(name: "SHUTDOWN"), .unknown(name: "MIGRATION"),
                    .migration(.unknown("newer")),
                ])
        }
    }

    @Test func moreCommandsThanTheLimitAreRefused() async throws {
        try await HostilePeer(onCommand: { _ in .stayQuiet }).withClient { client in
            let outcomes = await withTaskGroup(of: QMPError?.self) { group in
                for _ in 0...QMPLimits.pendingMax {
                    group.addTask {
                        do { _ = try await client.execute(QMPStop()) } catch { return error as? QMPError }
                        return nil
                    }
                }
                // The others can only end by the close, so the refused one comes first.
                let first = await group.next()
                await client.close()
                return await group.reduce(into: [first ?? nil]) { $0.append($1) }
            }
            #expect(outcomes.first == .busy(command: "stop"))
            #expect(outcomes.dropFirst().allSatisfy { $0 == .closed(reason: "closed on this side") })
            #expect(outcomes.count == QMPLimits.pendingMax + 1)
        }
    }
}

extension Error {
    fileprivate var isMalformed: Bool {
        if case QMPError.malformed? = self as? QMPError { true } else { false }
    }

    fileprivate var isClosed: Bool {
        if case QMPError.closed? = self as? QMPError { true } else { false }
    }
}
