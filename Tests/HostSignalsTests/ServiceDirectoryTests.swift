import HostSignals
import HostSignalsTestSupport
import Logging
import Testing

/// Two hosts on one cable, each with Avahi.
@Suite("Services on the local network", .timeLimit(.minutes(2))) struct ServiceDirectoryTests {
    private static let type = "_vmsync._tcp"

    /// Runs a directory for the time of `body`.
    private func with(
        _ name: String, at port: UInt16?, on bus: String,
        _ body: (inout AsyncStream<Set<LocalService>>.Iterator) async throws -> Void
    ) async throws {
        let directory = ServiceDirectory(
            Self.type, name: name, port: port, busAddress: bus, logger: Logger(label: name))
        let running = Task { await directory.run() }
        var found = directory.found.makeAsyncIterator()
        let result: Result<Void, any Error>
        do { result = .success(try await body(&found)) } catch { result = .failure(error) }
        running.cancel()
        await running.value
        try result.get()
    }

    /// Waits until exactly these are there.
    private func wait(
        for services: Set<LocalService>, _ found: inout AsyncStream<Set<LocalService>>.Iterator
    ) async {
        while let now = await found.next() {
            if now == services { return }
        }
        Issue.record("the directory has ended")
    }

    private static let here = LocalService(name: "one", address: "10.8.0.1", port: 7431)
    private static let there = LocalService(name: "two", address: "10.8.0.2", port: 7432)

    @Test func eachHearsOfTheOtherUntilItGoes() async throws {
        try await HostServices.with(.neighbours) { services in
            try await with("one", at: 7431, on: services.bus) { found in
                try await with("two", at: 7432, on: services.neighbourBus) { foundThere in
                    await wait(for: [Self.here, Self.there], &foundThere)
                    await wait(for: [Self.here, Self.there], &found)
                }
                await wait(for: [Self.here], &found)
            }
        }
    }

    @Test func whoOnlyListensIsNotHeardOf() async throws {
        try await HostServices.with(.neighbours) { services in
            try await with("one", at: nil, on: services.bus) { found in
                try await with("two", at: 7432, on: services.neighbourBus) { _ in
                    await wait(for: [Self.there], &found)
                }
                await wait(for: [], &found)
            }
        }
    }

    @Test func anAvahiThatIsStartedAnewIsToldAgain() async throws {
        try await HostServices.with(.neighbours) { services in
            try await with("one", at: 7431, on: services.bus) { found in
                try await with("two", at: 7432, on: services.neighbourBus) { foundThere in
                    await wait(for: [Self.here, Self.there], &foundThere)
                    await wait(for: [Self.here, Self.there], &found)
                    try await services.run("restart_avahi")
                    await wait(for: [], &found)
                    await wait(for: [Self.here, Self.there], &found)
                }
            }
        }
    }

    @Test func withoutAvahiNobodyIsFound() async throws {
        try await HostServices.with(.sleep) { services in
            let directory = ServiceDirectory(
                Self.type, name: "one", port: 7431, busAddress: services.bus, logger: Logger(label: "one"))
            let running = Task { await directory.run() }
            try await Task.sleep(for: .milliseconds(300))
            running.cancel()
            await running.value
            for await found in directory.found { #expect(found == []) }
        }
    }
}
