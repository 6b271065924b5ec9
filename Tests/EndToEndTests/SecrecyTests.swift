import Foundation
import GRDB
import Testing
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncStudy

extension EndToEnd {
    /// What a server, its store and the wire know of a guest: nothing.
    @Suite(.timeLimit(.minutes(10))) struct SecrecyTests {
        private static let vm = "quince-garden"
        private static let devices = ["marmalade-laptop", "walnut-desk"]

        @Test func nothingOfTheGuestIsInTheServerOrOnTheWire() async throws {
            let guest = try await World.guest()
            try await Trial.with(program: try World.program()) { trial in
                try await trial.startServer()
                let relay = try await RecordingRelay.start(to: await trial.serverPort)
                await trial.reach(through: relay.port)
                for device in Self.devices { try await trial.addDevice(device, interval: 0.5) }
                _ = try await trial.control(Self.devices[0]) {
                    try await $0.run(ControlPath.vms, guest.order(Self.vm), as: String.self)
                }
                try await Self.tell(trial, 0, "start", StartRequest(force: false))
                let nonce = try await Self.run(trial, on: 0)
                _ = try await trial.control(Self.devices[1]) {
                    try await $0.run("/vms/\(Self.vm)/switch", SwitchOrder(to: nil), as: JSONValue.self)
                }
                _ = try await Self.run(trial, on: 1)
                try await Self.tell(trial, 1, "suspend", Done())
                await trial.endServer(0, SIGTERM)

                var needles = Self.devices + [Self.vm, nonce, guest.disk, "witness.log"]
                needles += ["vmsync-witness", "vmsync-small", "Linux version", "console=ttyS0", "genericx86", "qemu64"]
                let stored = try Self.contents(of: trial.serverFolder)
                let wire = relay.recorded
                try await relay.stop()
                for needle in needles {
                    #expect(!stored.contains { Self.holds($0.bytes, needle) }, "\(needle) is at the server")
                    #expect(!Self.holds(wire, needle), "\(needle) was on the wire")
                }
                try Self.checkForm(stored, database: trial.serverFolder + "/server.sqlite")
                #expect(wire.count > 10_000_000, "the base image and the first checkpoint went that way")
                #expect(Self.ratio(Array(wire.suffix(8 << 20))) > 0.98)
                // That the search finds what is there: the guest's memory on the device.
                let memory = try Self.contents(of: trial.folders(Self.devices[1]).memory)
                for needle in [nonce, "vmsync-witness", "witness.log", "Linux version"] {
                    #expect(memory.contains { Self.holds($0.bytes, needle) }, "\(needle) isn't even in the memory")
                }
            }
        }

        private static func tell(
            _ trial: Trial, _ device: Int, _ verb: String, _ order: some Encodable & Sendable
        ) async throws {
            _ = try await trial.control(devices[device]) {
                try await $0.run("/vms/\(vm)/\(verb)", order, as: Done.self)
            }
        }

        /// Lets the guest run until it has written to its disk, and the other device has all of it.
        private static func run(_ trial: Trial, on device: Int) async throws -> String {
            let id = try #require(try await trial.vm(devices[device])).id
            let nonce = try await waitFor("the guest to write") { () -> String? in
                var tape = ConsoleTape()
                try tape.append(trial.paths(devices[device], id).consoleLog)
                return tape.witness.count >= 12 ? tape.witness.nonces.first : nil
            }
            try await trial.waitUntilReady(devices[1 - device])
            return nonce
        }

        private struct StoredFile {
            let path: String
            let bytes: [UInt8]
        }

        private static func contents(of folder: String) throws -> [StoredFile] {
            try FileManager.default.subpathsOfDirectory(atPath: folder).compactMap { path in
                guard let bytes = FileManager.default.contents(atPath: "\(folder)/\(path)") else { return nil }
                return StoredFile(path: path, bytes: Array(bytes))
            }
        }

        private static func holds(_ bytes: [UInt8], _ needle: String) -> Bool {
            Data(bytes).range(of: Data(needle.utf8)) != nil
        }

        /// Each blob is an encrypted stream or the rest of one, and no compressor finds anything in it.
        private static func checkForm(_ stored: [StoredFile], database: String) throws {
            let rests = try DatabaseQueue(path: database).read { database in
                try Set(
                    String.fetchAll(
                        database,
                        sql: """
                            SELECT chunk.blob FROM pack_chunk JOIN chunk ON chunk.hash = pack_chunk.hash
                            WHERE position > 0
                            """))
            }
            let blobs = stored.filter { $0.path.hasPrefix("blobs/") }
            #expect(blobs.count > 20 && !rests.isEmpty)
            for blob in blobs {
                let name = (blob.path as NSString).lastPathComponent
                #expect(blob.bytes.starts(with: Array("VMSE".utf8)) || rests.contains(name), "\(blob.path)")
                if blob.bytes.count > 4096 { #expect(ratio(blob.bytes) > 0.98, "\(blob.path)") }
            }
        }

        /// What zstd leaves of `bytes`.
        private static func ratio(_ bytes: [UInt8]) -> Double {
            var output: [UInt8] = []
            _ = try? bytes.withUnsafeBytes { try ZstdCompressor(level: 3).append($0, to: &output) }
            return Double(output.count) / Double(bytes.count)
        }
    }
}
