/// systemd's logind, or elogind, which lets others delay sleep and shutdown. (systemd, "Inhibitor Locks")
struct Logind: Sendable {
    static let manager = BusTarget(
        service: "org.freedesktop.login1", path: "/org/freedesktop/login1", interface: "org.freedesktop.login1.Manager")
    static let prepareForSleep = "PrepareForSleep"
    static let prepareForShutdown = "PrepareForShutdown"

    static let matches = [prepareForSleep, prepareForShutdown].map {
        "type='signal',sender='\(manager.service)',path='\(manager.path)',interface='\(manager.interface)',"
            + "member='\($0)'"
    }

    /// What is never reached; logind can be told to wait without end.
    private static let timeMax: UInt64 = 24 * 3600 * 1_000_000

    let bus: BusClient

    /// Takes the lock that delays sleep and shutdown until it is closed.
    /// - Throws: `refused` also while the host is about to sleep.
    func lock(_ inhibitor: Inhibitor) async throws(BusError) -> OwnedDescriptor {
        try await bus.call(
            "Inhibit", of: Self.manager, ["sleep:shutdown", inhibitor.who, inhibitor.why, "delay"]
        ).descriptor()
    }

    /// How long logind waits at most. (logind.conf, InhibitDelayMaxSec; five seconds unless somebody changed it)
    func delayMax() async throws(BusError) -> Duration {
        let time = try await bus.property("InhibitDelayMaxUSec", of: Self.manager).uint64()
        return .microseconds(Int64(min(time, Self.timeMax)))
    }

    func isPreparingForSleep() async throws(BusError) -> Bool {
        try await bus.property("PreparingForSleep", of: Self.manager).boolean()
    }

    func isPreparingForShutdown() async throws(BusError) -> Bool {
        try await bus.property("PreparingForShutdown", of: Self.manager).boolean()
    }
}
