import Foundation
import GRDB
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// A VM's past: gone back to, copied, thinned out.
    @Suite(.timeLimit(.minutes(15))) struct HistoryTests {
        @Test func aVMGoesBackAndItsCopyRunsBesideIt() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try stage.readTape()
                let before = stage.tape.witness
                let tagged = try await trial.control("B") {
                    try await $0.post(
                        "/vms/work/tag", TagOrder(checkpoint: "latest", tag: "before-upgrade"), as: Sequence.self)
                }
                try await stage.waitForGuest(counts: 15)
                let running = await failure { try await Self.restore("before-upgrade", on: "B", trial) }
                #expect(running?.code == .wrongState && running?.hint?.contains("suspend") == true)
                try await trial.tell("A", "suspend", Done())
                try stage.readTape()
                let late = stage.tape.witness.count
                let head = try #require(try await trial.vm("B")).head
                try await Self.checkThumbnail(of: head, trial)

                // On B, which follows the head, and has no way back but from the base.
                try await Self.restore("before-upgrade", on: "B", trial)
                let entries = try await Self.history(trial)
                let last = try #require(entries.last)
                #expect(last.sequence == head.next && last.cameFrom == tagged && last.isHead)
                #expect(entries.first { $0.sequence == tagged }?.tag == "before-upgrade")
                #expect(entries.contains { $0.sequence == head }, "what came after stays in the history")
                // A follows there too, by fetching what it needs, and both hold the same.
                _ = try await waitFor("A to follow") { try await trial.vm("A")?.head == last.sequence ? true : nil }
                #expect(try await stage.bothVerify())
                try stage.turn()
                try stage.beginTapeAnew()
                try await trial.tell("B", "start", Done())
                try await Self.waitForCount(on: "B", "work", trial) { witness in
                    witness.first.map { $0 <= before.count + 8 && $0 < late } ?? false
                }

                // The copy of the late state runs at the same time, on the other device.
                try await Self.restore("\(head)", as: "zopy", on: "A", trial)
                _ = try await trial.control("A") {
                    try await $0.run("/vms/zopy/start", StartRequest(force: false), as: Done.self)
                }
                try await Self.waitForCount(on: "A", "zopy", trial) {
                    $0.first == late + 1 && $0.nonces == before.nonces
                }
                let machines = try await trial.status("A").vms.map(\.id)
                #expect(Set(machines).count == 2)
                #expect(try await Self.guestKnowsItsGeneration("A", "zopy", trial))
                #expect(try await Self.guestKnowsItsGeneration("B", "work", trial))
                // It goes on being one VM on all devices, and is saved.
                _ = try await waitFor("the copy's checkpoints") {
                    try await Self.vm("B", "zopy", trial)?.head.rawValue ?? 0 > 3 ? true : nil
                }
                try await Self.waitForCount(on: "B", "work", trial) { witness in
                    // The first number is a gap of its own.
                    witness.gaps == (witness.first ?? 0) - 1 && witness.count > late && witness.nonces == before.nonces
                }
            }
        }

        /// Of what was on the screen when the VM was suspended: the firmware's words, light on dark. The small guest writes on
        /// its serial line.
        private static func checkThumbnail(of sequence: Sequence, _ trial: Trial) async throws {
            _ = try await waitFor("the picture of the last checkpoint") {
                try await history(trial).last { $0.hasThumbnail }?.sequence == sequence ? true : nil
            }
            let file = trial.folder + "/screen.png"
            let shown = try await trial.vmsync("B", "thumbnail", "work@\(sequence)", "--output", file, "--json")
            let written = try shown.json() as? [String: Any]
            #expect(shown.code == 0 && written?["width"] as? Int == 160)
            #expect(try Data(contentsOf: URL(fileURLWithPath: file)).starts(with: [0x89, 0x50, 0x4E, 0x47]))
            let picture = try await trial.control("B") {
                try await $0.get("/vms/work/thumbnails/\(sequence)", as: PictureMessage.self).picture
            }
            #expect(picture.width == 160 && picture.height == 89)
            let colors = Set(picture.pixels)
            #expect(colors.contains(0) && colors.contains { $0 > 40 } && colors.count < 200)
            let none = try await trial.vmsync("B", "thumbnail", "work@999999", "--output", file)
            #expect(none.code == 10 && none.errors.contains("vmsync history work"))
        }

        @Test func aCopyOfTheDisksBoots() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try stage.readTape()
                let nonces = stage.tape.witness.nonces
                try await Self.restore("latest", as: "zopy", diskOnly: true, on: "B", trial)
                _ = try await waitFor("the copy to be there") {
                    try await Self.vm("B", "zopy", trial)?.sequence == Sequence(rawValue: 1) ? true : nil
                }
                _ = try await trial.control("B") {
                    try await $0.run("/vms/zopy/start", StartRequest(force: false), as: Done.self)
                }
                try await Self.waitForCount(on: "B", "zopy", trial) {
                    // Its memory began anew, and its disk didn't: the guest goes on after the last number that was safe there.
                    $0.nonces.count == 1 && $0.nonces.isDisjoint(with: nonces)
                }
            }
        }

        @Test func aLongHistoryIsShortToComeBy() async throws {
            try await World.withGuest(interval: 0.1) { stage in
                let trial = stage.trial
                await trial.endDaemon("B", SIGTERM)
                _ = try await waitFor("230 checkpoints") {
                    try await trial.vm("A")?.head.rawValue ?? 0 > 230 ? true : nil
                }
                let spans = try await waitFor("spans") { () -> [PackID]? in
                    let spans = try await Self.spans(trial)
                    return spans.count >= 2 ? spans : nil
                }
                #expect(spans.map { $0.last.rawValue / 100 }.prefix(2) == [1, 2])
                #expect(spans[0].first == .base && spans[1].first == spans[0].last)

                // A pack in the middle of a block is damaged on the server's disk: what only it leads to is lost, and no more.
                try await trial.tell("A", "suspend", Done())
                try stage.readTape()
                try await Self.damage(pack: 150, trial)
                #expect(try await Self.check(readsData: false, trial).problems.isEmpty)
                let found = try await Self.check(readsData: true, trial)
                #expect(found.damaged.map(\.last.rawValue) == [150] && found.problems.count == 1)
                #expect(found.plan?.lost.map(\.rawValue) == Array(150...199) && found.plan?.losesHead == false)
                _ = try await trial.control("A") {
                    try await $0.run("/vms/work/repair", Done(), as: CheckReport.self)
                }
                let mended = try await Self.check(readsData: true, trial)
                #expect(mended.problems.isEmpty && mended.checkpoints == found.checkpoints - 50)

                // What nothing needs goes, and as much as was said.
                let stored = try Self.bytesStored(trial)
                let rules = Retention(last: 3)
                for isTrial in [true, false] {
                    let report = try await trial.control("A") {
                        try await $0.post(
                            "/vms/work/forget", ForgetOrder(rules: rules, isTrial: isTrial), as: PruneReport.self)
                    }
                    #expect(report.sequences.count > 150 && report.packs > 90)
                    #expect(try Self.bytesStored(trial) == stored)
                }
                let said = try await Self.prune(trial, isTrial: true)
                let done = try await Self.prune(trial, isTrial: false)
                #expect(done.bytes == said.bytes && done.sequences == said.sequences && done.bytes > 0)
                #expect(stored - (try Self.bytesStored(trial)) == done.bytes)
                #expect(try await Self.prune(trial, isTrial: false).packs == 0)
                let left = try await Self.history(trial)
                #expect(left.count == 3)

                // B was away for all of it; C is new. Both come by the spans, believe them, and hold the same.
                try await trial.startDaemon("B", interval: 0.05)
                #expect(try await stage.bothVerify())
                try await trial.addDevice("C", interval: 0.05)
                try await trial.waitForVM("C")
                try await trial.tell("C", "start", Done())
                var after = try await Stage(trial, active: "C", standby: "B")
                try await after.waitForGuest(counts: 3)
                #expect(after.tape.witness.nonces == stage.tape.witness.nonces)
                // Who made the spans is revoked; they count all the same, for who comes next.
                _ = try await trial.control("C") {
                    try await $0.post(ControlPath.revoke, DeviceOrder(device: "A"), as: Done.self)
                }
                await trial.destroy("A")
                try await trial.addDevice("D", interval: 0.1)
                _ = try await waitFor("D to follow") {
                    try await trial.vm("D")?.sequence.rawValue ?? 0 > 230 ? true : nil
                }
                // And back to each that is left.
                try await trial.tell("C", "suspend", Done())
                for entry in left {
                    try await Self.restore("\(entry.sequence)", on: "B", trial)
                    #expect(try await Self.history(trial, on: "B").last?.cameFrom == entry.sequence)
                }
                let gone = await failure { try await Self.restore("42", on: "B", trial) }
                #expect(gone?.code == .notFound)
            }
        }

        // MARK: Parts of the above

        static func restore(
            _ checkpoint: String, as name: String? = nil, diskOnly: Bool = false, on device: String, _ trial: Trial
        ) async throws {
            let order = RestoreOrder(checkpoint: checkpoint, newName: name, diskOnly: diskOnly)
            _ = try await trial.control(device) { try await $0.run("/vms/work/restore", order, as: Restored.self) }
        }

        static func history(_ trial: Trial, on device: String = "A") async throws -> [HistoryEntry] {
            try await trial.control(device) { try await $0.get("/vms/work/history", as: [HistoryEntry].self) }
        }

        private static func check(readsData: Bool, _ trial: Trial) async throws -> CheckReport {
            try await trial.control("A") {
                try await $0.run("/vms/work/check", CheckOrder(readsData: readsData), as: CheckReport.self)
            }
        }

        /// Changes a byte of the pack that came with a checkpoint.
        private static func damage(pack: Int, _ trial: Trial) async throws {
            let blob = try await DatabaseQueue(path: trial.serverFolder + "/server.sqlite").read { database in
                try String.fetchOne(
                    database, sql: "SELECT blob FROM pack WHERE last = ? AND link IS NULL", arguments: [pack])
            }
            let name = try #require(blob)
            let path = "\(trial.serverFolder)/blobs/\(name.prefix(2))/\(name)"
            var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            bytes[bytes.count / 2] ^= 1
            try bytes.write(to: URL(fileURLWithPath: path))
        }

        private static func prune(_ trial: Trial, isTrial: Bool) async throws -> PruneReport {
            try await trial.control("A") {
                try await $0.post("/vms/work/prune", PruneRequest(isTrial: isTrial), as: PruneReport.self)
            }
        }

        static func vm(_ device: String, _ name: String, _ trial: Trial) async throws -> VMStatus? {
            try await trial.status(device).vms.first { $0.name == name }
        }

        /// Whether the generation id that QEMU was started with stands in the guest's memory.
        private static func guestKnowsItsGeneration(
            _ device: String, _ name: String, _ trial: Trial
        ) async throws -> Bool {
            let paths = trial.paths(device, try #require(try await vm(device, name, trial)).id)
            let pid = try String(contentsOfFile: paths.pidFile, encoding: .utf8).trimmingCharacters(in: .newlines)
            let command = String(
                decoding: try Data(contentsOf: URL(fileURLWithPath: "/proc/\(pid)/cmdline")), as: UTF8.self)
            let text = try #require(command.firstMatch(of: /vmgenid,guid=([0-9a-f-]{36})/)).1
            let id = try #require(UUID(uuidString: String(text))).uuid
            // As firmware writes it: the first three numbers are little-endian.
            let stored = Data([
                id.3, id.2, id.1, id.0, id.5, id.4, id.7, id.6, id.8, id.9, id.10, id.11, id.12, id.13, id.14, id.15,
            ])
            let memory = try Data(contentsOf: URL(fileURLWithPath: paths.ram), options: .alwaysMapped)
            return memory.range(of: stored) != nil
        }

        static func waitForCount(
            on device: String, _ name: String, _ trial: Trial, _ isThere: @escaping @Sendable (Witness) -> Bool
        ) async throws {
            let id = try #require(try await vm(device, name, trial)).id
            let path = trial.paths(device, id).consoleLog
            _ = try await waitFor("\(name) to count on \(device)") {
                guard let console = FileManager.default.contents(atPath: path),
                    let end = console.lastIndex(of: UInt8(ascii: "\n"))
                else { return nil as Bool? }
                return isThere(Witness(console: console[...end])) ? true : nil
            }
        }

        private static func spans(_ trial: Trial) async throws -> [PackID] {
            try await DatabaseQueue(path: trial.serverFolder + "/server.sqlite").read { database in
                try Row.fetchAll(
                    database, sql: "SELECT first, last FROM pack WHERE link IS NOT NULL ORDER BY last, first"
                ).map { PackID(Sequence(rawValue: $0["first"]), Sequence(rawValue: $0["last"])) }
            }
        }

        /// In blobs.
        private static func bytesStored(_ trial: Trial) throws -> UInt64 {
            let folder = trial.serverFolder + "/blobs"
            return try FileManager.default.subpathsOfDirectory(atPath: folder).reduce(0) { sum, path in
                let facts = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(path)")
                return facts[.type] as? FileAttributeType == .typeRegular
                    ? sum + (facts[.size] as? UInt64 ?? 0) : sum
            }
        }
    }
}
