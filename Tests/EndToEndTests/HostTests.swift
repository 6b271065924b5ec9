import Foundation
import HostSignalsTestSupport
import Testing
import VMSyncAPI
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// What a daemon makes of the host's own services, which are real.
    @Suite(.timeLimit(.minutes(5)), .enabled(if: geteuid() == 0, "only root can start services"))
    struct HostTests {
        private static func on(_ bus: String) -> [String: String] { ["DBUS_SYSTEM_BUS_ADDRESS": bus] }

        @Test func beforeTheHostSleepsItsVMIsSaved() async throws {
            let guest = try await World.guest()
            try await HostServices.with(.sleep) { services in
                try await Trial.with(program: try World.program()) { trial in
                    try await trial.startServer()
                    try await trial.addDevice("A", environment: Self.on(services.bus))
                    try await trial.addDevice("B")
                    try await trial.create(guest)
                    try await trial.tell("A", "start", Done())
                    var stage = try await Stage(trial, active: "A", standby: "B")
                    try await stage.waitForGuest(counts: 12)
                    await trial.endDaemon("A", SIGTERM)
                    try await trial.startDaemon("A", interval: 3600, environment: Self.on(services.bus))
                    // The checkpoint of the new daemon; the next one would come in an hour.
                    let before = try await waitFor("A to save what was done without it") {
                        try await trial.vm("A").flatMap { $0.lastCheckpoint != nil ? $0.sequence : nil }
                    }
                    try await stage.waitForGuest(counts: 3)
                    // As with the network gone.
                    await trial.endServer()
                    try await services.run("login Suspend b false")
                    _ = try await waitFor("A to save its VM") {
                        try await trial.vm("A").flatMap { $0.sequence > before ? true : nil }
                    }
                    try await trial.startServer()
                    try await stage.waitForGuest(counts: 3)
                    _ = try await stage.move()
                    try await stage.waitForGuest(counts: 3)
                    #expect(try await stage.losses() == [])
                }
            }
        }

        @Test func devicesOnOneNetworkFindEachOther() async throws {
            try await HostServices.with(.neighbours) { services in
                try await Trial.with(program: try World.program(), direct: "0.0.0.0:0") { trial in
                    try await trial.startServer()
                    try await trial.addDevice("A", environment: Self.on(services.bus))
                    try await trial.addDevice("B", environment: Self.on(services.neighbourBus))
                    for (device, other, address) in [("A", "B", "10.8.0.2:"), ("B", "A", "10.8.0.1:")] {
                        _ = try await waitFor("\(device) to find \(other)") {
                            let devices = try await trial.control(device) {
                                try await $0.get(ControlPath.devices, as: [DeviceStatus].self)
                            }
                            let nearby = devices.first { $0.name == other }?.nearby ?? []
                            return nearby.contains { $0.hasPrefix(address) } ? true : nil
                        }
                    }
                    await trial.endDaemon("B", SIGTERM)
                    _ = try await waitFor("A to know that B is gone") {
                        let devices = try await trial.control("A") {
                            try await $0.get(ControlPath.devices, as: [DeviceStatus].self)
                        }
                        return devices.allSatisfy(\.nearby.isEmpty) ? true : nil
                    }
                }
            }
        }
    }
}
