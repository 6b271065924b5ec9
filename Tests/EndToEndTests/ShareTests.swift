import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// Links that somebody else opens.
    @Suite(.timeLimit(.minutes(10))) struct ShareTests {
        @Test func aLinkRunsACopyElsewhereAndIsRefusedWhenItMust() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try stage.readTape()
                let before = stage.tape.witness
                try await trial.addDevice("C", interval: 0.5)
                // Of a VM that runs, from a device on which it doesn't.
                let once = try await Self.share(uses: 1, on: "B", trial)
                let name = try await Self.open(once.url, on: "C", trial)
                #expect(name == "work-2", "there is a \"work\" already")
                _ = try await trial.control("C") {
                    try await $0.run("/vms/\(name)/start", StartRequest(force: false), as: Done.self)
                }
                let copy = try #require(try await trial.status("C").vms.first { $0.name == name }).id
                let console = trial.paths("C", copy).consoleLog
                _ = try await waitFor("the copy to count") {
                    guard let bytes = FileManager.default.contents(atPath: console) else { return nil as Bool? }
                    let witness = Witness(console: bytes)
                    return witness.count > before.count && witness.nonces == before.nonces ? true : nil
                }
                try await stage.waitForGuest(counts: 3)

                // Used up, not yet, expired, revoked: refused, with the reason.
                let usedUp = await failure { _ = try await Self.open(once.url, on: "A", trial) }
                #expect(usedUp?.code == .unauthorized && usedUp?.message.contains("used already") == true)
                let early = try await Self.share(start: 3600, on: "A", trial)
                let tooEarly = await failure { _ = try await Self.open(early.url, on: "C", trial) }
                #expect(tooEarly?.code == .unauthorized && tooEarly?.message.contains("begins later") == true)
                let short = try await Self.share(lifetime: 3, on: "A", trial)
                try await Task.sleep(for: .seconds(4))
                let tooLate = await failure { _ = try await Self.open(short.url, on: "C", trial) }
                #expect(tooLate?.code == .unauthorized && tooLate?.message.contains("expired") == true)
                let revoked = try await Self.share(on: "A", trial)
                _ = try await trial.control("B") {
                    try await $0.post(
                        ControlPath.revokeShare, RevokeShareOrder(id: revoked.share.share.id), as: Done.self)
                }
                let cut = await failure { _ = try await Self.open(revoked.url, on: "C", trial) }
                #expect(cut?.code == .unauthorized && cut?.message.contains("revoked") == true)

                // Whatever is changed in a link, the device finds it out, or the server does.
                let good = try await Self.share(uses: 2, diskOnly: true, on: "A", trial)
                for (part, other) in [
                    ("uses=2", "uses=9"), ("allow=disk", "allow=run"), ("until=20", "until=30"), ("from=20", "from=10"),
                    ("&tag=", "&tag=x"), ("/share/", "/share/0"), (".", ".x"),
                ] {
                    let parts = good.url.split(separator: "#", maxSplits: 1)
                    let changed =
                        part == "."
                        ? "\(parts[0])#\(parts[1].replacing(".", with: ".x"))" : good.url.replacing(part, with: other)
                    #expect(changed != good.url)
                    let refused = await failure { _ = try await Self.open(changed, on: "C", trial) }
                    #expect(refused?.code == .invalidInput, "\(part): \(String(describing: refused))")
                }
                let copied = try await Self.open(good.url, on: "C", trial)
                #expect(copied == "work-3")
                let all = try await trial.control("A") { try await $0.get(ControlPath.shares, as: [ShareStatus].self) }
                #expect(all.map(\.share.used) == [1, 0, 0, 0, 1] && all.allSatisfy { $0.name == "work" })
            }
        }

        // MARK: Parts of the above

        private static func share(
            start: Double? = nil, lifetime: Double = 3600, uses: Int? = nil, diskOnly: Bool = false, on device: String,
            _ trial: Trial
        ) async throws -> Shared {
            let order = ShareOrder(
                checkpoint: "latest", start: start, lifetime: lifetime, uses: uses, diskOnly: diskOnly)
            return try await trial.control(device) { try await $0.run("/vms/work/share", order, as: Shared.self) }
        }

        private static func open(_ url: String, on device: String, _ trial: Trial) async throws -> String {
            try await trial.control(device) {
                try await $0.run(ControlPath.open, OpenOrder(url: url, name: nil), as: Restored.self).name
            }
        }
    }
}
