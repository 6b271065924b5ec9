import RFB
import Testing
import VMSyncCore
import VMSyncStudy

@Suite("Scripts of the desktop's sessions")
struct SessionScriptTests {
    private static let packages = ["b_1_amd64.deb", "a_1_all.deb"]

    private func steps(_ name: String, seed: UInt64) throws -> [Step] {
        let session = try DesktopSession.named(name, seed: seed, packages: Self.packages)
        return session.preparation + (0..<5).flatMap(session.round)
    }

    @Test("a seed says all that is done", arguments: DesktopSession.names)
    func repeatable(name: String) throws {
        #expect(try steps(name, seed: 7) == steps(name, seed: 7))
        #expect(try !steps(name, seed: 7).isEmpty)
    }

    @Test("another seed does something else", arguments: ["browser", "web", "web-music", "office", "gimp"])
    func different(name: String) throws {
        #expect(try steps(name, seed: 7) != steps(name, seed: 8))
    }

    @Test("no round is like the one before", arguments: ["web", "office", "gimp"])
    func rounds(name: String) throws {
        let session = try DesktopSession.named(name, seed: 3)
        #expect(session.round(0) != session.round(1))
    }

    @Test("all that is typed is on the keyboard, and all waits have an end", arguments: DesktopSession.names)
    func playable(name: String) throws {
        for step in try flat(steps(name, seed: 5)) {
            switch step {
            case .type(let text, _): #expect(text.allSatisfy { Keysym.typing($0) != nil })
            case .press(let chord): #expect((1...3).contains(chord.keysyms.count))
            case .expect(let text, let limit): #expect(!text.isEmpty && limit > .zero && limit <= .seconds(600))
            case .insist(_, let text, let limit): #expect(!text.isEmpty && limit > .zero && limit <= .seconds(60))
            case .think(let time): #expect(time > .zero && time <= .seconds(20))
            case .move(let x, let y), .drag(let x, let y): #expect((0..<1280).contains(x) && (0..<800).contains(y))
            case .command(let line): #expect(!line.isEmpty && !line.contains("\n") && line.utf8.count < 1000)
            case .click, .scroll: break
            }
        }
    }

    /// The steps, with those that are repeated once each.
    private func flat(_ steps: [Step]) -> [Step] {
        steps.flatMap { step in
            if case .insist(let inner, _, _) = step { [step] + inner } else { [step] }
        }
    }

    @Test("a reader waits for the pages that link to one another")
    func pages() throws {
        let waits = try steps("web", seed: 11).compactMap { step in
            if case .insist(_, let text, _) = step { text } else { nil }
        }
        #expect(waits == (1...5).map { "window \(Page(seed: 11, number: $0).title)" })
        for number in 0...4 {
            #expect(Page(seed: 11, number: number).html.contains("href=\"\(Page(seed: 11, number: number + 1).path)\""))
        }
    }

    @Test("the packages are fetched in one order, whatever order they came in")
    func packages() throws {
        let commands = try steps("install", seed: 1).compactMap { step in
            if case .command(let line) = step { line } else { nil }
        }
        let script = try #require(commands.first { $0.contains("dpkg -i") })
        #expect(script.contains("wget -q http://pages/packages/a_1_all.deb && wget -q http://pages/packages/b_1"))
    }

    @Test("a session of another name is refused with the names that there are")
    func unknown() {
        let error = #expect(throws: VMSyncError.self) { try DesktopSession.named("web+music", seed: 1) }
        #expect(error?.code == .invalidInput)
        #expect(error?.hint?.contains("web-music") == true)
    }
}
