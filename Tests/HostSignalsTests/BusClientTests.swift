import HostSignals
import HostSignalsTestSupport
import Testing

@Suite("A client of the bus", .timeLimit(.minutes(1))) struct BusClientTests {
    private static let logind = BusTarget(
        service: "org.freedesktop.login1", path: "/org/freedesktop/login1", interface: "org.freedesktop.login1.Manager")

    private func with(_ body: (HostServices, BusClient) async throws -> Void) async throws {
        try await HostServices.with(.sleep) { services in
            let client = BusClient(address: services.bus, matches: [])
            do { try await body(services, client) } catch {
                await client.stop()
                throw error
            }
            await client.stop()
        }
    }

    private func failure<Value>(_ ask: () async throws(BusError) -> Value) async -> BusError.Kind? {
        do throws(BusError) { _ = try await ask() } catch { return error.kind }
        return nil
    }

    @Test func whatIsRefusedSaysWhy() async throws {
        try await with { _, client in
            let nobody = BusTarget(service: "org.example.Nobody", path: "/", interface: "org.example.Nobody")
            let absent = await failure { () throws(BusError) in try await client.call("Hello", of: nobody) }
            #expect(absent == .refused("org.freedesktop.DBus.Error.NameHasNoOwner"))
            let unknown = await failure { () throws(BusError) in try await client.call("Nothing", of: Self.logind) }
            #expect(unknown == .refused("org.freedesktop.DBus.Error.UnknownMethod"))
            let wrong = await failure { () throws(BusError) in
                try await client.call("Inhibit", of: Self.logind, ["too", "few"])
            }
            #expect(wrong == .refused("org.freedesktop.DBus.Error.InvalidArgs"))
        }
    }

    @Test func anotherTypeIsMalformed() async throws {
        try await with { _, client in
            let values = try await client.property("PreparingForSleep", of: Self.logind)
            #expect(try !values.boolean())
            #expect(await failure { () throws(BusError) in try values.string() } == .malformed)
            #expect(await failure { () throws(BusError) in try values.descriptor() } == .malformed)
            #expect(await failure { () throws(BusError) in try values.boolean(1) } == .malformed)
            let text = await failure { () throws(BusError) in
                try await client.call("GetNameOwner", of: Self.logind, ["a\0b"])
            }
            #expect(text == .malformed)
        }
    }

    @Test func whoDoesNotAnswerIsNotWaitedForForEver() async throws {
        try await with { services, client in
            _ = try await client.property("PreparingForSleep", of: Self.logind)
            try await services.run("kill -STOP $logind")
            let late = await failure { () throws(BusError) in
                try await client.call("ListSessions", of: Self.logind, timeout: .milliseconds(200))
            }
            #expect(late == .timedOut)
            try await services.run("kill -CONT $logind")
            _ = try await client.property("PreparingForSleep", of: Self.logind)
        }
    }

    @Test func whoWaitsWhenTheBusEndsIsTold() async throws {
        try await with { services, client in
            _ = try await client.property("PreparingForSleep", of: Self.logind)
            try await services.run("kill -STOP $logind")
            async let asked = failure { () throws(BusError) in try await client.call("ListSessions", of: Self.logind) }
            try await services.run("stop $bus")
            #expect(await asked == .notConnected)
        }
    }

    @Test func aClientThatIsStoppedEnds() async throws {
        try await with { services, client in
            _ = try await client.property("PreparingForSleep", of: Self.logind)
            try await services.run("kill -STOP $logind")
            async let asked = failure { () throws(BusError) in try await client.call("ListSessions", of: Self.logind) }
            await client.stop()
            #expect(await asked == .notConnected)
            let after = await failure { () throws(BusError) in try await client.call("ListSessions", of: Self.logind) }
            #expect(after == .notConnected)
            for await _ in client.news {}
        }
    }
}
