import Foundation
import QMP
import Testing

@Suite("Each command is understood by a real QEMU", .timeLimit(.minutes(1)))
struct QMPCommandTests {
    @Test func queriesAboutWhatQEMUCanDo() async throws {
        try await QEMU.with { qemu in
            let client = try await qemu.connect()
            let machines = try await client.execute(QMPQueryMachines())
            #expect(machines.contains { $0.alias == "q35" && $0.name.hasPrefix("pc-q35-") && $0.cpuMax > 1 })
            let models = try await client.execute(QMPQueryCPUDefinitions())
            #expect(models.contains { $0.name == "qemu64" && $0.unavailableFeatures == [] && $0.migrationSafe == true })
            #expect(models.contains { $0.name == "host" && $0.migrationSafe == false })
            #expect(try await client.execute(QMPQueryKVM()).enabled == false)
        }
    }

    @Test func blockNodesAndTheHumanMonitor() async throws {
        try await QEMU.with(QEMU.smallPC + ["-blockdev", "null-co,node-name=disk0,read-zeroes=on"]) { qemu in
            let client = try await qemu.connect()
            #expect(try await client.execute(QMPQueryNamedBlockNodes()).map(\.name) == ["disk0"])
            #expect(try await client.execute(QMPHumanMonitorCommand("info status")).hasPrefix("VM status: paused"))
        }
    }

    @Test func linkStateOfANetworkCard() async throws {
        let card = ["-netdev", "hubport,id=net0,hubid=0", "-device", "virtio-net-pci,netdev=net0,id=eth0"]
        try await QEMU.with(QEMU.smallPC + card) { qemu in
            let client = try await qemu.connect()
            _ = try await client.execute(QMPSetLink("eth0", up: false))
            _ = try await client.execute(QMPSetLink("eth0", up: true))
        }
    }

    @Test(arguments: [(QMPScreendump.Format.ppm, Data("P6".utf8)), (.png, Data([0x89, 0x50, 0x4E, 0x47]))])
    func screendumpWritesAPicture(format: QMPScreendump.Format, magic: Data) async throws {
        try await QEMU.with(QEMU.smallPC + ["-device", "VGA"]) { qemu in
            let client = try await qemu.connect()
            let path = qemu.directory + "/screen"
            _ = try await client.execute(QMPScreendump(filename: path, format: format))
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)).starts(with: magic))
        }
    }

    @Test func keysAndPointerAreAccepted() async throws {
        try await QEMU.with(QEMU.smallPC + ["-device", "VGA", "-usb", "-device", "usb-tablet"]) { qemu in
            let client = try await qemu.connect()
            _ = try await client.execute(QMPContinue())
            _ = try await client.execute(QMPSendKey([.code("ctrl"), .code("a")], holdTime: 10))
            _ = try await client.execute(
                QMPInputSendEvent([
                    .key(.code("b"), down: true), .key(.number(48), down: false),
                    .button("left", down: true), .button("left", down: false),
                    .absolute(.x, value: 100), .absolute(.y, value: 32767), .relative(.x, value: -3),
                ]))
            await #expect(throws: QMPError.self) {
                try await client.execute(QMPInputSendEvent([.key(.code("no such key"), down: true)]))
            }
        }
    }

    @Test func viewersOfTheScreen() async throws {
        let directory = try Scratch.make()
        defer { Scratch.remove(directory) }
        try await QEMU.with(QEMU.smallPC + ["-vnc", "unix:\(directory)/vnc"]) { qemu in
            let client = try await qemu.connect()
            let screen = try await client.execute(QMPQueryVNC())
            #expect(screen.enabled && screen.family == "unix" && screen.service == directory + "/vnc")
            #expect(screen.clients?.isEmpty == true)
        }
    }
}
