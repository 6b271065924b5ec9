import RFB
import VMSyncCore

/// A person's work at a desktop guest, repeatable by its seed: `prepare` brings the desktop there, `run` is the measured
/// time, `check` finds out whether it really happened, `leave` closes everything. In this order, on one desk; another
/// session may follow.
package struct DesktopSession: Sendable {
    /// All kinds of sessions.
    package static let names = [
        "idle", "browser", "web", "video", "audio", "record", "web-music", "office", "install", "compile", "gimp",
    ]

    package let name: String
    package let seed: UInt64
    private let script: any SessionScript
    private var evidence = SessionEvidence()
    private var facts: GuestFacts?
    private var pictureBefore: RFBImage?

    /// The session `name`, one of `names`.
    /// - Parameters:
    ///   - seed: the same seed does the same.
    ///   - packages: files of the "install" session, as `DesktopGuest.packages` lists them.
    /// - Throws: `invalidInput` for another name.
    package static func named(
        _ name: String, seed: UInt64, packages: [String] = []
    ) throws(VMSyncError) -> DesktopSession {
        let script: any SessionScript =
            switch name {
            case "idle": IdleScript(seed: seed)
            case "browser": BrowserScript(seed: seed)
            case "web": WebScript(seed: seed, withMusic: false)
            case "video": VideoScript(seed: seed)
            case "audio": AudioScript(seed: seed)
            case "record": RecordScript(seed: seed)
            case "web-music": WebScript(seed: seed, withMusic: true)
            case "office": OfficeScript(seed: seed)
            case "install": InstallScript(packages: packages.sorted(), program: "geany")
            case "compile": CompileScript(seed: seed)
            case "gimp": GimpScript(seed: seed)
            default:
                throw VMSyncError(
                    .invalidInput, "there is no session \"\(name)\"", hint: "use \(names.joined(separator: ", "))")
            }
        return DesktopSession(name: name, seed: seed, script: script)
    }

    private init(name: String, seed: UInt64, script: any SessionScript) {
        self.name = name
        self.seed = seed
        self.script = script
    }

    /// What is done in round `number` of the measured time.
    package func round(_ number: Int) -> [Step] { script.round(number) }
    /// What is done before.
    package var preparation: [Step] { script.preparation }
    /// What shows that the session did not happen, in words; nothing if it did.
    package func problems(_ evidence: SessionEvidence) -> [String] { script.problems(evidence) }

    /// Waits until the desktop of a guest that was just booted can be used.
    package static func waitForDesktop(_ desk: Desk, within limit: Duration = .seconds(600)) async throws {
        var facts = GuestFacts(path: desk.console, earlier: .max)
        _ = try await waitFor("the desktop to be ready", for: limit, every: .milliseconds(200)) {
            try facts.read()
            return facts.all.contains("ready") ? true : nil
        }
    }

    /// Starts the programs on an empty desktop, and waits until they are up.
    package mutating func prepare(on desk: Desk) async throws {
        evidence = SessionEvidence()
        facts = GuestFacts(path: desk.console, earlier: 0)
        try await play(on: desk, "preparing", stream: 1) { [script] in
            try await $0.play(Step.clear + script.preparation)
        }
        evidence.factsBefore = evidence.facts.count
    }

    /// The VM runs elsewhere now: what the guest tells from here on, it tells there.
    package mutating func follow(to desk: Desk) { facts = GuestFacts(path: desk.console, earlier: 0) }

    /// Works for `time`, or as long as the task takes where that is longer.
    package mutating func run(on desk: Desk, for time: Duration) async throws {
        let script = script
        var (rounds, typed) = (0, "")
        pictureBefore = try await Self.picture(desk)
        let served = desk.pages.counts
        let start = ContinuousClock.now
        try await play(on: desk, "running", stream: 2) { player in
            repeat {
                try await player.play(script.round(rounds), until: script.isOneTask ? nil : start + time)
                rounds += 1
            } while !script.isOneTask && ContinuousClock.now < start + time
            try await player.play([.think(time)], until: start + time)
            typed = player.typed
        }
        evidence.ran = ContinuousClock.now - start
        evidence.rounds = rounds
        evidence.typed = typed
        let now = desk.pages.counts
        evidence.served = PageServer.Counts(
            pages: now.pages - served.pages, pictures: now.pictures - served.pictures,
            packages: now.packages - served.packages)
    }

    /// Finds out from the guest, the page server and the screen whether it happened.
    package mutating func check(on desk: Desk) async throws -> SessionVerdict {
        do {
            try await play(on: desk, "checking", stream: 3) { [script] in try await $0.play(script.inspection) }
            let after = try await Self.picture(desk)
            evidence.pixelsChanged = pictureBefore.map(after.pixelsDifferent) ?? 0
            evidence.colours = after.colours
        } catch let error as VMSyncError where error.code == .timeout {
            return verdict([error.message])
        }
        return verdict(script.problems(evidence))
    }

    /// Closes the session's programs: back to the empty desktop.
    package mutating func leave(on desk: Desk) async throws {
        try await play(on: desk, "leaving", stream: 4) { try await $0.play(Step.clear) }
    }

    private func verdict(_ problems: [String]) -> SessionVerdict {
        var seen = [
            "ran_s": "\((evidence.ran.seconds * 10).rounded() / 10)", "rounds": "\(evidence.rounds)",
            "pages": "\(evidence.served.pages)", "pixels_changed": "\(evidence.pixelsChanged)",
        ]
        if let rate = VideoScript.rate(evidence) { seen["frames_per_s"] = "\(rate)" }
        for fact in evidence.facts where fact.hasPrefix("fact ") {
            let words = fact.split(separator: " ", maxSplits: 2)
            seen[String(words[1])] = words.count > 2 ? String(words[2]) : ""
        }
        return SessionVerdict(session: name, seed: seed, problems: problems, observations: seen)
    }

    private static func picture(_ desk: Desk) async throws -> RFBImage {
        let screen = try await RFBClient.connect(path: desk.vnc)
        let picture = try await screen.screen()
        await screen.close()
        return picture
    }

    /// Connects for the time of `body`, as a viewer that is closed again.
    private mutating func play(
        on desk: Desk, _ action: String, stream: UInt64, _ body: (inout SessionPlayer) async throws -> Void
    ) async throws {
        guard let facts else { throw VMSyncError(.bug, "the session \(name) was not prepared") }
        do {
            let screen = try await RFBClient.connect(path: desk.vnc)
            var player = SessionPlayer(
                screen: screen, desk: desk, random: SessionRandom(seed: seed, stream: stream << 32), facts: facts)
            let result: Result<Void, any Error>
            do { result = .success(try await body(&player)) } catch { result = .failure(error) }
            try player.facts.read()
            self.facts = player.facts
            evidence.facts = player.facts.all
            await player.close()
            await screen.close()
            try result.get()
        } catch {
            throw VMSyncError(error, during: "\(action) the session \"\(name)\"")
        }
    }
}
