import Testing
import VMSyncCore
import VMSyncStudy

@Suite("Verdicts on the desktop's sessions")
struct SessionVerdictTests {
    private func problems(_ name: String, _ evidence: SessionEvidence) throws -> [String] {
        try DesktopSession.named(name, seed: 1, packages: ["a_1_all.deb"]).problems(evidence)
    }

    /// A session of 30 s in which the guest told `facts`, and the screen changed.
    private func evidence(_ facts: [String]) -> SessionEvidence {
        var evidence = SessionEvidence()
        evidence.facts = facts
        evidence.ran = .seconds(30)
        evidence.pixelsChanged = 100_000
        evidence.colours = 1000
        evidence.served.pages = 1
        evidence.served.pictures = 3
        evidence.served.packages = 1
        return evidence
    }

    @Test("a guest that told nothing did nothing", arguments: DesktopSession.names)
    func nothing(name: String) throws {
        var evidence = evidence([])
        evidence.served = SessionEvidence().served
        #expect(try !problems(name, evidence).isEmpty)
    }

    private static let film = "fact film time=10.0 position=100.0 dropped=5"

    @Test(
        "a film counts the frames that were shown, over its end",
        arguments: [
            ("fact film time=40.0 position=10.0 dropped=65", true),
            ("fact film time=40.0 position=10.0 dropped=715", false),
            ("fact film time=40.0 position=100.0 dropped=5", false),
            ("fact film time=10.0 position=100.0 dropped=5", false),
        ])
    func film(last: String, happened: Bool) throws {
        #expect(try problems("video", evidence([Self.film, last])).isEmpty == happened)
        var still = evidence([Self.film, last])
        still.pixelsChanged = 100
        #expect(try !problems("video", still).isEmpty)
    }

    @Test(
        "music must play on, and may begin anew",
        arguments: [("150", "176", true), ("170", "20", true), ("150", "150", false), ("150", "153", false)])
    func music(first: String, last: String, happened: Bool) throws {
        #expect(try problems("audio", evidence(["fact music \(first)", "fact music \(last)"])).isEmpty == happened)
    }

    @Test(
        "a recording grows with time",
        arguments: [("1000044", "6292044", true), ("1000044", "1000044", false), ("1000044", "1200044", false)])
    func recording(first: String, last: String, happened: Bool) throws {
        let facts = ["fact take \(first)", "fact take \(last) 35.6"]
        #expect(try problems("record", evidence(facts)).isEmpty == happened)
    }

    @Test("a letter holds what was typed, but for keys that came in a pause")
    func letter() throws {
        var written = evidence(["fact letter 90"])
        written.typed = String(repeating: "ten letter ", count: 11)
        #expect(try problems("office", written).isEmpty)
        written.facts = ["fact letter 60"]
        #expect(try !problems("office", written).isEmpty)
    }

    @Test("a package that was there before was not installed")
    func install() throws {
        #expect(try problems("install", evidence(["fact absent", "fact package installed"])).isEmpty)
        #expect(try !problems("install", evidence(["fact absent installed", "fact package installed"])).isEmpty)
        #expect(try !problems("install", evidence(["fact absent", "fact package half-installed"])).isEmpty)
    }

    @Test("pages must be shown, and fetched in the measured time")
    func pages() throws {
        let window = "window Story 1.1. - NetSurf"
        #expect(try problems("web", evidence([window])).isEmpty)
        var earlier = evidence([window])
        earlier.factsBefore = 1
        #expect(try !problems("web", earlier).isEmpty)
        var cached = evidence([window])
        cached.served = SessionEvidence().served
        #expect(try !problems("web", cached).isEmpty)
    }

    @Test("an idle desktop tells nothing but the time")
    func idle() throws {
        var quiet = evidence(["fact idle 100", "fact idle 130"])
        quiet.factsBefore = 1
        #expect(try problems("idle", quiet).isEmpty)
        quiet.facts = ["fact idle 100", "window xterm", "fact idle 130"]
        #expect(try !problems("idle", quiet).isEmpty)
        quiet.facts = ["fact idle 130", "fact idle 130"]
        #expect(try !problems("idle", quiet).isEmpty)
    }
}
