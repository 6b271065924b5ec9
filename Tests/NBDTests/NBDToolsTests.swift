import Foundation
import NBD
import NBDTestSupport
import Synchronization
import Testing

/// The server against clients that we did not write.
@Suite struct NBDToolsTests {
    private let scratch: Scratch
    init() throws { scratch = try Scratch() }

    @Test func nbdinfoSeesWhatTheServerCanDo() async throws {
        try await Serving.with(MemoryDisk(size: 1 << 20), in: scratch) { serving in
            let text = try await Tool.nbdinfo("--json", serving.uri)
            let info = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            #expect(info["protocol"] as? String == "newstyle-fixed")
            #expect(info["structured"] as? Bool == true)
            let export = try #require((info["exports"] as? [[String: Any]])?.first)
            #expect(export["export-name"] as? String == "disk")
            #expect(export["export-size"] as? Int == 1 << 20)
            #expect(export["contexts"] as? [String] == ["base:allocation"])
            for flag in ["can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero"] {
                #expect(export[flag] as? Bool == true, "\(flag)")
            }
            for flag in ["can_cache", "is_read_only", "is_rotational"] {
                #expect(export[flag] as? Bool == false, "\(flag)")
            }
            #expect(export["block_size_minimum"] as? Int == 1)
            #expect(export["block_size_preferred"] as? Int == 4096)
            #expect(export["block_size_maximum"] as? Int == 32 << 20)
        }
    }

    @Test func theEmptyNameStandsForTheOnlyExport() async throws {
        try await Serving.with(MemoryDisk(size: 1 << 20), in: scratch) { serving in
            let list = try await Tool.nbdinfo("--list", "nbd+unix:///?socket=\(serving.socket)")
            #expect(list.contains(#"export="disk""#))
            #expect(try await Tool.nbdinfo("--size", "nbd+unix:///?socket=\(serving.socket)") == "1048576\n")
            await #expect(throws: Tool.Failure.self) {
                try await Tool.nbdinfo("nbd+unix:///other?socket=\(serving.socket)")
            }
        }
    }

    @Test func nbdcopyPutsBytesInAndGetsThemOut() async throws {
        var generator = SeededGenerator(seed: 1)
        var bytes = generator.bytes(8 << 20)
        bytes.replaceSubrange((2 << 20)..<(3 << 20), with: repeatElement(0, count: 1 << 20))
        try scratch.write(bytes, to: "in")
        let disk = MemoryDisk(size: bytes.count)
        try await Serving.with(disk, in: scratch) { serving in
            try await Tool.nbdcopy("--flush", scratch.file("in"), serving.uri)
            let isInside = disk.content == bytes
            #expect(isInside)
            #expect(disk.flushes.withLock { $0 } > 0)
            try await Tool.nbdcopy(serving.uri, scratch.file("out"))
            try await Tool.cmp(scratch.file("in"), scratch.file("out"))
        }
    }

    @Test func nbdinfoMapsDataAndHoles() async throws {
        let disk = MemoryDisk(size: 1 << 20)
        try await Serving.with(disk, in: scratch) { serving in
            try await serving.qemuIO("write -P 7 256k 64k")
            let map = try await Tool.nbdinfo("--map", serving.uri)
            let rows = map.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(
                rows == [
                    ["0", "262144", "3", "hole,zero"], ["262144", "65536", "0", "data"],
                    ["327680", "720896", "3", "hole,zero"],
                ])
        }
    }

    @Test func qemuReadsBackWhatItWrote() async throws {
        let disk = MemoryDisk(size: 64 << 20)
        try await Serving.with(disk, in: scratch) { serving in
            try await serving.qemuIO(
                "write -P 1 0 64k", "write -f -P 2 4097 1000", "write -P 3 16M 40M", "write -z 20M 1M",
                "write -z -u 30M 1M", "discard 40M 1M", "flush", "read -P 1 0 4097", "read -P 2 4097 1000",
                "read -P 1 5097 2k", "read -P 3 16M 4M", "read -P 0 20M 1M", "read -P 0 30M 1M", "read -P 0 40M 1M",
                "read -P 3 41M 15M", "read -P 0 56M 8M")
            await #expect(throws: Tool.Failure.self) { try await serving.qemuIO("read -P 9 0 512") }
        }
        #expect(disk.flushes.withLock { $0 } > 0)
    }

    @Test func errorsOfTheDeviceReachTheClient() async throws {
        let disk = MemoryDisk(size: 1 << 20, failsAt: 8192, failure: NBDError.noSpace)
        try await Serving.with(disk, in: scratch) { serving in
            for (command, said) in [
                ("write 4k 64k", "No space left on device"), ("read 0 64k", "No space left on device"),
                ("write -z 0 64k", "No space left on device"), ("read 16k 64k", "read 65536/65536"),
            ] {
                let output: String
                do { output = try await serving.qemuIO(command) } catch let error as Tool.Failure {
                    output = error.description
                }
                #expect(output.contains(said), "\(command): \(output)")
            }
        }
    }

    @Test func fioFindsItsOwnBlocksAgain() async throws {
        try await Serving.with(MemoryDisk(size: 16 << 20), in: scratch) { serving in
            let output = try await Tool.fio(
                "--name=verify", "--ioengine=nbd", "--uri=\(serving.uri)", "--rw=randwrite", "--bsrange=512-64k",
                "--size=16m", "--io_size=24m", "--iodepth=32", "--verify=crc32c", "--randseed=5",
                "--verify_state_save=0")
            #expect(output.contains("err= 0"))
        }
    }

    @Test func severalConnectionsShareOneDisk() async throws {
        try await Serving.with(MemoryDisk(size: 1 << 20), in: scratch) { serving in
            let one = try RawClient.ready(serving.socket)
            let two = try RawClient.ready(serving.socket)
            try one.request(1, at: 512, 4)
            try one.send([1, 2, 3, 4])
            #expect(try one.simpleError() == 0)
            try two.request(0, at: 510, 8)
            #expect(try two.simpleError() == 0)
            #expect(try two.receive(8) == [0, 0, 1, 2, 3, 4, 0, 0])
            #expect(serving.server.connectionCount == 2)
        }
    }
}
