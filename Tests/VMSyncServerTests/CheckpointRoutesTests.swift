import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

@Suite(.timeLimit(.minutes(1))) struct CheckpointRoutesTests {
    @Test func aCommittedPackIsTheHeadAndComesBackAsItWas() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let pack = randomBytes(5_000_001)
            let record = try await it.commit(1, to: vm, pack: pack)
            #expect(record.size == 5_000_001 && record.device == it.laptopID)
            let state = try await it.desktop.vm(vm)
            #expect(state.head == record && state.runState == .active)
            #expect(try await it.desktop.fetch(record.pack, of: vm, bytesMax: 6_000_000) == pack)
            let small = await failure { _ = try await it.desktop.fetch(record.pack, of: vm, bytesMax: 5_000_000) }
            #expect(small?.code == .noSpace)
        }
    }

    @Test func aPackGoesFromFileToFile() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let pack = randomBytes(3_000_003)
            let (source, target) = (it.folder + "/source", it.folder + "/target")
            try Data(buffer: pack).write(to: URL(fileURLWithPath: source))
            let record = try await it.laptopDevice.commit(
                ServerFixture.offer(1, pack), to: vm, pack: .file(path: source))
            try await it.desktop.fetch(record.pack, of: vm, to: target)
            #expect(try Data(contentsOf: URL(fileURLWithPath: target)) == Data(buffer: pack))
            // A file that ends before its announced size ends the commit, and leaves the head.
            let longer = ServerFixture.offer(2, randomBytes(3_000_004))
            #expect(
                await failure { _ = try await it.laptopDevice.commit(longer, to: vm, pack: .file(path: source)) } != nil
            )
            #expect(try await it.laptop.vm(vm).head == record)
        }
    }

    @Test func commitsThatDoNotFollowAreRefusedAndLeaveNothing() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let head = try await it.commit(1, to: vm)
            let refused: [(UInt64, UInt64, TestDevice, VMSyncError.Code)] = [
                (3, 1, it.laptopDevice, .outOfOrder), (0, 1, it.laptopDevice, .outOfOrder),
                (2, 0, it.laptopDevice, .fenced), (2, 9, it.laptopDevice, .fenced), (2, 1, it.desktopDevice, .fenced),
            ]
            for (sequence, epoch, device, code) in refused {
                let error = await failure { try await it.commit(sequence, epoch: epoch, to: vm, by: device) }
                #expect(error?.code == code)
                #expect(error?.message.contains("head 1, epoch 1, active on \(it.laptopID)") == true)
            }
            #expect(await failure { try await it.commit(1, to: .random()) }?.code == .notFound)
            #expect(try await it.laptop.vm(vm).head == head)
            #expect(try files(in: it.folder + "/blobs").count == 1)
            #expect(try files(in: it.folder + "/tmp").isEmpty)
        }
    }

    @Test func aLargePackThatIsRefusedBeforeItIsTakenIsRefusedInWords() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let pack = ByteBuffer(repeating: 1, count: 32 << 20)
            for _ in 0..<5 {
                #expect(
                    await failure { try await it.commit(1, to: vm, pack: pack, by: it.desktopDevice) }?.code == .fenced)
            }
            #expect(try files(in: it.folder + "/tmp").isEmpty)
        }
    }

    @Test func aFlippedBitOrAWrongChecksumIsCorrupt() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            var pack = randomBytes(200_000)
            let offer = ServerFixture.offer(1, pack)
            let bit = try #require(pack.getInteger(at: 100_000, as: UInt8.self)) ^ 1
            pack.setInteger(bit, at: 100_000)
            #expect(
                await failure { _ = try await it.laptopDevice.commit(offer, to: vm, pack: .bytes(pack)) }?.code
                    == .corrupt)
            #expect(try await it.laptop.vm(vm).head == nil)
            #expect(try files(in: it.folder + "/blobs").isEmpty && files(in: it.folder + "/tmp").isEmpty)
        }
    }

    @Test func aPackThatBreaksOffLeavesNothing() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let pack = randomBytes(3_000_000)
            let offer = ServerFixture.offer(1, pack)
            let connection = try await RawConnection(it.address, it.laptopDevice)
            try await connection.send(
                """
                POST /api/v1/vms/\(vm)/checkpoints HTTP/1.1\r
                Host: server\r
                Content-Length: 3000000\r
                Vmsync-Epoch: 1\r
                Vmsync-Sequence: 1\r
                Vmsync-Parent: 0\r
                Vmsync-Kind: live\r
                Vmsync-Checksum: \(offer.checksum)\r
                \r\n
                """)
            try await connection.send(Array(pack.readableBytesView.prefix(2_000_000)))
            try await connection.close()
            #expect(try await it.laptop.vm(vm).head == nil)
            try await it.commit(1, to: vm, pack: pack)
            #expect(try files(in: it.folder + "/blobs").count == 1 && files(in: it.folder + "/tmp").isEmpty)
        }
    }

    @Test func headersThatCanNotBeAreNamed() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let offer = try await it.laptopDevice.signed(ServerFixture.offer(1, ByteBuffer(string: "pack")), of: vm)
            let good = [
                "Vmsync-Statement": offer.statement.base64EncodedString(), "Vmsync-Epoch": "1", "Vmsync-Sequence": "1",
                "Vmsync-Parent": "0", "Vmsync-Kind": "live",
                "Vmsync-Checksum": hash(of: ByteBuffer(string: "pack")).rawValue,
            ]
            let bad = [
                ("Vmsync-Epoch", "-1"), ("Vmsync-Sequence", "99999999999999999999"), ("Vmsync-Kind", "dead"),
                ("Vmsync-Parent", ""), ("Vmsync-Checksum", "00"), ("Vmsync-Statement", "a b"),
                ("Vmsync-Statement", Data(count: APILimits.statementBytesMax + 3).base64EncodedString()),
                ("Vmsync-Then", "switch="), ("Vmsync-Then", "later"),
            ]
            let body = HTTPClientRequest.Body.bytes(ByteBuffer(string: "pack"))
            for (name, value) in bad {
                let headers = good.merging([name: value]) { _, new in new }
                let answer = try await it.raw("POST", "/vms/\(vm)/checkpoints", headers: headers, body: body)
                #expect(answer == RawAnswer(400, "invalid-input"), "\(name): \(value)")
            }
            let huge = good.merging(["Vmsync-Sequence": "18446744073709551615"]) { _, new in new }
            #expect(try await it.raw("POST", "/vms/\(vm)/checkpoints", headers: huge, body: body).status == 400)
            #expect(try await it.raw("POST", "/vms/\(vm)/checkpoints", headers: good, body: body).status == 200)
        }
    }

    @Test func whatNoDeviceCouldFollowDoesNotBecomeTheHead() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let head = try await it.commit(1, to: vm)
            let pack = ByteBuffer(string: "pack 2")
            let offer = ServerFixture.offer(2, pack)
            let said = try Signed<Statement>(bytes: try await it.laptopDevice.signed(offer, of: vm).statement).read()
            func changed(_ change: (inout Statement) -> Void) -> Statement {
                var statement = said
                change(&statement)
                return statement
            }
            let wrong = [
                changed { $0.vm = .random() }, changed { $0.parent = nil },
                changed { $0.sequence = Sequence(rawValue: 3) },
                changed { $0.epoch = Epoch(rawValue: 2) }, changed { $0.isOff = true }, changed { $0.size += 1 },
                changed { $0.checksum = head.checksum }, changed { $0.then = .release },
            ]
            var statements = try wrong.map { try Signed($0, by: it.laptopDevice.keys).bytes }
            statements.append(Data())
            statements.append(try Signed(changed { $0.device = it.desktopID }, by: it.desktopDevice.keys).bytes)
            var forged = try Signed(said, by: it.laptopDevice.keys).bytes
            forged[10] ^= 1
            statements.append(forged)
            for statement in statements {
                let bad = CommitOffer(
                    epoch: offer.epoch, sequence: offer.sequence, parent: offer.parent, kind: offer.kind,
                    size: offer.size,
                    checksum: offer.checksum, statement: statement)
                let error = await failure { _ = try await it.laptop.commit(bad, to: vm, pack: .bytes(pack)) }
                #expect(error?.code == .invalidInput)
            }
            #expect(try await it.laptop.vm(vm).head == head)
            try await it.commit(2, to: vm, pack: pack)
        }
    }

    @Test func aRepeatedCommitGetsTheSameAnswerAtAnyTime() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let first = try await it.commit(1, to: vm)
            #expect(try await it.commit(1, to: vm) == first)
            let last = try await it.commit(2, to: vm, kind: .off, then: .release)
            let released = try await it.laptop.vm(vm)
            #expect(released.runState == .off && released.holder == nil)
            _ = try await it.desktop.acquireLease(vm)
            try await it.commit(3, epoch: 2, to: vm, by: it.desktopDevice)
            it.clock.advance(by: .seconds(3600))
            #expect(try await it.commit(2, to: vm, kind: .off, then: .release) == last)
            #expect(try await it.commit(1, to: vm) == first)
            #expect(try await it.laptop.vm(vm).holder == it.desktopID)
            #expect(try files(in: it.folder + "/blobs").count == 3)
        }
    }

    @Test func aLiveHeadThatNobodyRunsIsSuspended() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            try await it.commit(1, to: vm, then: .release)
            #expect(try await it.laptop.vm(vm).runState == .suspended)
        }
    }

    @Test func ofManyCommitsOfOneNumberExactlyOneWins() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            for sequence in UInt64(1)...4 {
                let outcomes = await withTaskGroup(of: VMSyncError.Code?.self) { group in
                    for number in 0..<32 {
                        group.addTask {
                            let pack = ByteBuffer(string: "pack \(sequence) by \(number)")
                            return await failure { try await it.commit(sequence, to: vm, pack: pack) }?.code
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(outcomes.filter { $0 == nil }.count == 1)
                #expect(outcomes.filter { $0 == .outOfOrder }.count == 31)
            }
            let all = try await it.laptop.checkpoints(of: vm)
            #expect(all.map(\.sequence.rawValue) == [1, 2, 3, 4])
            #expect(try files(in: it.folder + "/blobs").count == 4, "the packs of the refused are gone")
        }
    }

    @Test func checkpointsAreListedInPages() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            var all: [CheckpointRecord] = []
            for sequence in UInt64(1)...5 { all.append(try await it.commit(sequence, to: vm)) }
            #expect(try await it.desktop.checkpoints(of: vm) == all)
            let page = try await it.desktop.checkpoints(of: vm, after: Sequence(rawValue: 2), limit: 2)
            #expect(page == Array(all[2...3]))
            #expect(try await it.raw("GET", "/vms/\(vm)/checkpoints?after=x").status == 400)
            #expect(await failure { _ = try await it.laptop.checkpoints(of: .random()) }?.code == .notFound)
        }
    }

    @Test func aPackCanBeReadFromAnyByteOn() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            try await it.commit(1, to: vm, pack: ByteBuffer(string: "0123456789"))
            let ranges: [(String, Int, String)] = [
                ("bytes=4-", 206, "456789"), ("bytes=2-3", 206, "23"), ("bytes=9-99", 206, "9"),
                ("bytes=10-", 416, ""), ("bytes=-3", 416, ""), ("bytes=5-4", 416, ""), ("lines=1-", 416, ""),
            ]
            for (range, status, expected) in ranges {
                var request = HTTPClientRequest(url: "\(it.laptop.url)/api/v1/vms/\(vm)/packs/0/1")
                request.headers = ["Range": range]
                let response = try await it.laptopDevice.http.execute(request, timeout: .seconds(10))
                let body = String(buffer: try await response.body.collect(upTo: 1000))
                #expect(Int(response.status.code) == status, "\(range)")
                if status == 206 { #expect(body == expected, "\(range)") }
            }
            #expect(try await it.raw("GET", "/vms/\(vm)/packs/0/2") == RawAnswer(404, "not-found"))
            #expect(try await it.raw("GET", "/vms/\(vm)/packs/0/x") == RawAnswer(404, "not-found"))
        }
    }

    @Test func aPackThatWasDamagedOnTheServerIsNotBelieved() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.activeVM()
            let record = try await it.commit(1, to: vm, pack: ByteBuffer(string: "0123456789"))
            let file = try #require(files(in: it.folder + "/blobs").first)
            try Data("0123456780".utf8).write(to: URL(fileURLWithPath: "\(it.folder)/blobs/\(file)"))
            #expect(
                await failure { _ = try await it.desktop.fetch(record.pack, of: vm, bytesMax: 100) }?.code == .corrupt)
        }
    }
}
