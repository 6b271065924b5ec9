import NBD
import NBDTestSupport
import Testing
import VMSyncMachine

/// The disk as an NBD export, seen by clients that we did not write.
@Suite struct OverlayExportTests {
    private static let size = 16 << 20

    @Test func qemuImgFindsTheBaseInANewDisk() async throws {
        let fixture = try DiskFixture(size: Self.size)
        try await Serving.with(try fixture.open(), in: fixture.scratch) { serving in
            try await Tool.qemuImg(
                "compare", "-f", "raw", "-F", "raw", serving.uri, fixture.scratch.file("base"))
        }
    }

    @Test func anImageThatIsConvertedInComesOutTheSame() async throws {
        let fixture = try DiskFixture(size: Self.size)
        var generator = SeededGenerator(seed: 9)
        let image = generator.bytes(3 << 20) + [UInt8](repeating: 0, count: 10 << 20) + generator.bytes(3 << 20)
        let path = try fixture.scratch.write(image, to: "image")
        let disk = try fixture.open()
        try await Serving.with(disk, in: fixture.scratch) { serving in
            try await Tool.qemuImg("convert", "-n", "-f", "raw", "-O", "raw", path, serving.uri)
            try await Tool.qemuImg("compare", "-f", "raw", "-F", "raw", path, serving.uri)
            try await Tool.nbdcopy(serving.uri, fixture.scratch.file("out"))
            try await Tool.cmp(path, fixture.scratch.file("out"))
        }
        #expect(Content(try disk.bytes()) == Content(image))
        // The zeros in the middle were not stored.
        #expect(disk.statistics.dataBytes < 7 << 20)
    }

    @Test func qemuReadsBackWhatItWroteAfterARestart() async throws {
        let fixture = try DiskFixture(size: Self.size)
        try await Serving.with(try fixture.open(), in: fixture.scratch) { serving in
            try await serving.qemuIO(
                "write -P 1 0 1M", "write -f -P 2 1000 5000", "write -P 3 15M 1M", "write -z 64k 4k",
                "write -z -u 128k 64k", "discard 256k 64k", "write -z 300001 1001", "flush")
        }
        try await Serving.with(try fixture.open(), in: fixture.scratch) { serving in
            try await serving.qemuIO(
                "read -P 1 0 1000", "read -P 2 1000 5000", "read -P 1 6000 58k", "read -P 0 64k 4k",
                "read -P 1 68k 60k", "read -P 0 128k 64k", "read -P 1 192k 64k", "read -P 0 256k 64k",
                "read -P 1 320k 500k", "read -P 3 15M 1M")
        }
    }

    @Test func theMapTellsDataFromHoles() async throws {
        let fixture = try DiskFixture(size: Self.size, baseSize: 1 << 20)
        try await Serving.with(try fixture.open(), in: fixture.scratch) { serving in
            try await serving.qemuIO("write -P 1 8M 1M", "discard 512k 256k")
            let map = try await Tool.nbdinfo("--map", serving.uri)
            let rows = map.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            let data = ["0", "data"]
            let hole = ["3", "hole,zero"]
            #expect(
                rows == [
                    ["0", "524288"] + data, ["524288", "262144"] + hole, ["786432", "262144"] + data,
                    ["1048576", "7340032"] + hole, ["8388608", "1048576"] + data, ["9437184", "7340032"] + hole,
                ])
        }
    }

    @Test func fioFindsItsOwnBlocksAgain() async throws {
        let fixture = try DiskFixture(size: Self.size)
        try await Serving.with(try fixture.open(), in: fixture.scratch) { serving in
            let output = try await Tool.fio(
                "--name=verify", "--ioengine=nbd", "--uri=\(serving.uri)", "--rw=randwrite", "--bsrange=512-64k",
                "--size=16m", "--iodepth=32", "--verify=crc32c", "--fsync=64", "--randseed=3", "--verify_state_save=0")
            #expect(output.contains("err= 0"))
        }
    }

    @Test func aCheckpointUnderLoadIsTheDiskAsItWas() async throws {
        let fixture = try DiskFixture(size: Self.size)
        let disk = try fixture.open()
        try await Serving.with(disk, in: fixture.scratch) { serving in
            try await serving.qemuIO("write -P 1 0 16M")
            let moment = try disk.bytes()
            let frozen = try disk.freeze()
            async let fio = Tool.fio(
                "--name=load", "--ioengine=nbd", "--uri=\(serving.uri)", "--rw=randwrite", "--bs=16k", "--size=16m",
                "--iodepth=16", "--randseed=4", "--verify_state_save=0")
            for block in frozen.blocks {
                let start = Int(block.index) * DiskBlock.size
                #expect(Content(try frozen.bytes(block)) == Content(Array(moment[start..<start + DiskBlock.size])))
            }
            _ = try await fio
            // Once more, now that all of it was overwritten.
            for block in frozen.blocks {
                let start = Int(block.index) * DiskBlock.size
                #expect(Content(try frozen.bytes(block)) == Content(Array(moment[start..<start + DiskBlock.size])))
            }
            #expect(frozen.blocks.count == 4096)
            #expect(Content(try disk.bytes()) != Content(moment))
        }
    }
}
