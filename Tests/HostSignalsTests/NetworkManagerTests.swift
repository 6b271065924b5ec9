import Foundation
import HostSignals
import HostSignalsTestSupport
import Testing

/// With the real NetworkManager, on a cable to a router with a DHCP server.
@Suite("The network, with NetworkManager", .timeLimit(.minutes(1))) struct NetworkManagerTests {
    private static let cost = "nmcli connection modify 'The cable' connection.metered"

    private func with(_ body: (HostServices, Watched) async throws -> Void) async throws {
        try await HostServices.with(.network) { services in
            try await Watched.with(paths: services.paths, bus: services.bus) { watched in
                _ = try await watched.nextChange()
                try await body(services, watched)
            }
        }
    }

    /// Waits until the connection costs this.
    private func expect(_ cost: Metered, _ watched: Watched) async throws {
        _ = try await watched.wait(for: "\(cost)") {
            await watched.watch.current().network.metered.value == cost ? true : nil
        }
    }

    @Test func whatAConnectionCostsIsToldWhenItChanges() async throws {
        try await with { services, watched in
            let network = await watched.watch.current().network
            #expect(network.interface == .known("va") && network.metered == .known(.guessedNo))
            try await services.run("\(Self.cost) yes")
            try await watched.nextChange()
            #expect(await watched.watch.current().network.metered == .known(.yes))
            try await services.run("\(Self.cost) no")
            try await expect(.no, watched)
            try await services.run("\(Self.cost) unknown")
            // As an Android telephone announces itself.
            try await services.run("dhcp --dhcp-option-force=43,ANDROID_METERED")
            try await services.run("nmcli connection up 'The cable'")
            try await expect(.guessedYes, watched)
        }
    }

    @Test func whatIsKnownHoldsWhileTheConnectionIsRenewed() async throws {
        try await with { services, watched in
            try await services.run("\(Self.cost) yes")
            try await expect(.yes, watched)
            // Without a DHCP server it goes on being renewed, and we give it a route ourselves.
            try await services.run("stop $dhcp_pid; nmcli --wait 0 connection up 'The cable'")
            try await services.run("await renewal eval 'nmcli -g GENERAL.STATE device show va | grep -q ^70'")
            try await services.run("ip addr add 10.9.0.9/24 dev va; ip route add default via 10.9.0.2 dev va")
            try await services.run("nmcli -g GENERAL.METERED device show va | grep -qx unknown")
            let network = await watched.watch.current().network
            #expect(network.interface == .known("va") && network.metered == .known(.yes))
        }
    }

    @Test func aPlaceIsTheConnectionAndItsGateway() async throws {
        try await with { services, watched in
            func place() async throws -> HostPlace {
                // Asked for its hardware address by whoever is in that network.
                try await services.run("ip neigh flush dev va && echo > /dev/udp/10.9.0.2/9")
                return try await watched.wait(for: "a place") { await watched.watch.current().network.place.value }
            }
            let home = try await place()
            #expect(home.name == "The cable" && home.id.count == 16)
            #expect(try await place() == home)
            try await services.run("ip netns exec router ip link set vb address 02:00:00:00:00:01")
            let work = try await place()
            #expect(work.name == "The cable" && work.id != home.id)
            // Without NetworkManager the gateway alone says it, and nobody what it costs.
            try await services.run("stop $manager")
            _ = try await watched.wait(for: "its end") {
                await watched.watch.current().network.metered.whyUnknown == "NetworkManager doesn't run" ? true : nil
            }
            let unnamed = try await place()
            #expect(unnamed.name == nil && unnamed.id != work.id)
        }
    }

    @Test func aTunnelCostsWhatTheCableCosts() async throws {
        try await with { services, watched in
            try await services.run("\(Self.cost) yes")
            try await expect(.yes, watched)
            try await services.run("ip tuntap add dev tun0 mode tun && ip addr add 10.8.0.1/24 dev tun0")
            try await services.run("ip link set tun0 up && ip route add default dev tun0 metric 1")
            let network = await watched.watch.current().network
            #expect(network.interface == .known("tun0") && network.metered == .known(.yes))
            try await services.run("ip route del default dev va")
            let only = await watched.watch.current().network
            #expect(only.interface == .known("tun0") && only.metered.value == nil)
        }
    }

    @Test func withoutARouteNothingIsKnown() async throws {
        try await with { services, watched in
            try await services.run("nmcli device disconnect va")
            try await watched.nextChange()
            let network = await watched.watch.current().network
            #expect(network.interface == .unknown("there is no default route"))
            #expect(network.metered.value == nil && network.place.value == nil)
        }
    }
}
