import RFB

/// The browser, opened cold on its first page.
struct BrowserScript: SessionScript {
    let seed: UInt64
    private var page: Page { Page(seed: seed, number: 0) }

    var isOneTask: Bool { true }
    /// Nothing of the browser may be in memory from an earlier session.
    var preparation: [Step] {
        Browser.forget
            + Step.tell(
                "cold",
                "$(echo \(Step.pages)\(page.path) > start-page; sync; echo 3 | sudo tee /proc/sys/vm/drop_caches)")
    }
    func round(_ number: Int) -> [Step] {
        [
            .insist(
                [.press(Step.Chord(Keysym.control, Keysym.alt, 0x62))], on: "fact opening the browser",
                each: .seconds(20)),
            .expect("window \(page.title)", within: Browser.limit),
        ]
    }
    var inspection: [Step] { [] }

    func problems(_ evidence: SessionEvidence) -> [String] {
        var problems: [String] = []
        if evidence.served.pages == 0 { problems.append("the guest fetched no page") }
        if evidence.served.pictures == 0 { problems.append("the guest fetched no picture") }
        if evidence.told("window \(page.title)") == 0 { problems.append("no window shows \(page.title)") }
        return problems
    }
}

/// A person reads: looks, scrolls, goes on to the next page.
struct WebScript: SessionScript {
    let seed: UInt64
    /// Whether music plays meanwhile.
    let withMusic: Bool

    var preparation: [Step] {
        (withMusic ? Music.start : []) + Browser.forget + Browser.open(Page(seed: seed, number: 0))
            + [.move(x: 640, y: 400)]
    }

    func round(_ number: Int) -> [Step] {
        var random = SessionRandom(seed: seed, stream: UInt64(number) + 1)
        let reading = (0..<random.number(2...4)).flatMap { _ in
            [
                .think(random.pause(900...2500)),
                Step.move(x: random.number(300...900), y: random.number(200...600)),
                .scroll(random.number(2...6)),
            ]
        }
        return reading + [Browser.follow(to: Page(seed: seed, number: number + 1))]
    }

    /// A page has its title before it is drawn.
    var inspection: [Step] { [.think(.seconds(5))] + (withMusic ? Music.tell : []) }

    func problems(_ evidence: SessionEvidence) -> [String] {
        var problems = withMusic ? Music.problems(evidence) : []
        let seen = evidence.told("window Story \(seed).")
        if seen == 0 || evidence.served.pages == 0 {
            problems.append("\(seen) pages were shown and \(evidence.served.pages) fetched in the measured time")
        }
        if evidence.served.pictures == 0 { problems.append("the guest fetched no picture") }
        if evidence.pixelsChanged < 10_000 { problems.append("the screen hardly changed") }
        return problems
    }
}

/// The steps of the browser.
enum Browser {
    /// A page with its pictures takes an emulated guest some seconds; the browser itself, cold, up to a minute, and more
    /// on a busy host.
    static let limit = Duration.seconds(240)
    /// On the link at the head of each page.
    private static let link = (x: 640, y: 190)
    private static let margin = (x: 40, y: 400)

    /// Leaves it no page of an earlier session.
    static let forget = Step.tell("forgotten", "$(rm -rf .cache/netsurf)")

    /// As large as the screen, from the start: a key that would maximize it may be lost.
    private static let size = "--window_x=0 --window_y=0 --window_width=1268 --window_height=745"

    /// Opens it on `page`, and clicks on the page's margin: the keyboard was the address line's.
    static func open(_ page: Page) -> [Step] {
        [.command("netsurf-gtk \(size) \(Step.pages)\(page.path)"), .expect("window \(page.title)", within: limit)]
            + [.think(.seconds(5)), .move(x: margin.x, y: margin.y), .click, .think(.seconds(1))]
    }

    /// Clicks on the link at the head of the page before.
    static func follow(to page: Page) -> Step {
        .insist(
            [.press(Step.Chord(Keysym.home)), .move(x: link.x, y: link.y), .click],
            on: "window \(page.title)",
            each: .seconds(25))
    }
}
