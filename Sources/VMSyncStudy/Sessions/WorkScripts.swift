import RFB

/// Nobody is there.
struct IdleScript: SessionScript {
    let seed: UInt64
    var preparation: [Step] { Step.tell("idle", "$(cut -d. -f1 /proc/uptime)") + [.think(.seconds(5))] }
    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] { Step.tell("idle", "$(cut -d. -f1 /proc/uptime)") }

    func problems(_ evidence: SessionEvidence) -> [String] {
        guard let first = evidence.number("idle", fromEnd: 1), let last = evidence.number("idle") else {
            return ["the guest told nothing"]
        }
        var problems: [String] = []
        if last <= first { problems.append("the guest's time stood still") }
        if evidence.facts.dropFirst(evidence.factsBefore).contains(where: { !$0.hasPrefix("fact ") }) {
            problems.append("something happened on the desktop")
        }
        return problems
    }
}

/// A person writes a letter, and saves it now and then.
struct OfficeScript: SessionScript {
    private static let file = "/home/user/letter.abw"
    private static let sentencesPerRound = 2
    /// QEMU drops the keys that come while the VM is paused for a checkpoint; more than this must arrive.
    private static let arrives = 0.8

    let seed: UInt64

    /// The letter exists, so that Ctrl+S asks nothing.
    var preparation: [Step] {
        let empty = "<abiword><section><p></p></section></abiword>"
        return Step.tell("begun", "$(rm -f \(Self.file)*; echo '\(empty)' > \(Self.file))")
            + [
                .command("abiword \(Self.file)"), .expect("window letter.abw", within: .seconds(180)),
                .think(.seconds(5)),
            ]
    }

    func round(_ number: Int) -> [Step] {
        var random = SessionRandom(seed: seed, stream: UInt64(number) + 1)
        var prose = Prose(random: random)
        let writing = (0..<Self.sentencesPerRound).flatMap { _ -> [Step] in
            [.type(prose.sentence() + " ", .person), .think(random.pause(400...1500))]
        }
        return writing + [.press(.control("s")), .think(random.pause(300...900))]
    }

    /// How many letters stand in the file's paragraphs, after a change so that there is something to save.
    var inspection: [Step] {
        [.command("touch mark; sleep 1; fact marked; until [ \(Self.file) -nt mark ]; do sleep 0.5; done; fact saved")]
            + [.expect("fact marked", within: .seconds(60))]
            + [.insist([.type(" ", .quick), .press(.control("s"))], on: "fact saved", each: .seconds(20))]
            + Step.tell(
                "letter",
                "$(sync; sed -n '/<section/,/<\\/section/p' \(Self.file) | sed 's/<[^>]*>//g' | tr -cd 'A-Za-z0-9' | wc -c)"
            )
    }

    func problems(_ evidence: SessionEvidence) -> [String] {
        let letters = evidence.typed.count { $0.isLetter || $0.isNumber }
        guard let saved = evidence.number("letter") else { return ["the guest told nothing"] }
        guard letters > 0, saved >= Double(letters) * Self.arrives else {
            return ["the letter holds \(saved) letters, and \(letters) were typed"]
        }
        return []
    }
}

/// Packages are fetched and installed.
struct InstallScript: SessionScript {
    /// In the order in which dpkg takes them: all at once.
    let packages: [String]
    let program: String

    var isOneTask: Bool { true }

    /// The command line is in a file: its letters are nobody's work.
    var preparation: [Step] {
        let fetch = packages.map { "wget -q \(Step.pages)/packages/\($0)" }.joined(separator: " && ")
        let lines = "cd debs; fact installing; \(fetch); sudo dpkg -i *.deb; sync; fact installed"
        return Step.tell(
            "absent", "$(sudo dpkg --purge \(names) > /dev/null 2>&1; rm -rf debs; mkdir debs; echo \(state))")
            + Step.tell("written", "$(echo '\(lines)' > install; sync)")
            + [.command("xterm -T Terminal"), .expect("window user@", within: .seconds(60)), .think(.seconds(2))]
    }

    private var names: String { packages.map { String($0.prefix { $0 != "_" }) }.joined(separator: " ") }
    private var state: String { "$(dpkg-query -W -f '${db:Status-Status}' \(program) 2> /dev/null)" }

    func round(_ number: Int) -> [Step] {
        [
            .insist([.type("\nsh install\n", .person)], on: "fact installing", each: .seconds(25)),
            .expect("fact installed", within: .seconds(600)),
        ]
    }

    var inspection: [Step] { Step.tell("package", state) }

    func problems(_ evidence: SessionEvidence) -> [String] {
        var problems: [String] = []
        if evidence.fact("absent") == ["installed"] { problems.append("\(program) was installed before") }
        if evidence.served.packages < packages.count {
            problems.append("\(evidence.served.packages) of \(packages.count) packages were fetched")
        }
        if evidence.fact("package") != ["installed"] { problems.append("\(program) isn't installed") }
        return problems
    }
}

/// A part of a kernel is compiled.
struct CompileScript: SessionScript {
    private static let count = "$(find linux/lib linux/mm linux/kernel -name '*.o' | wc -l)"

    let seed: UInt64

    /// Begins with the first object, for make itself reads long before it compiles.
    var preparation: [Step] {
        Step.tell("clean", "$(find linux/lib linux/mm linux/kernel -name '*.o' -delete; sync; echo)")
            + [Step.terminal("cd linux; for part in lib mm kernel; do make -j2 $part/; done")]
            + [.command("until [ -n \"$(find linux/lib -name '*.o')\" ]; do sleep 1; done; fact compiling")]
            + [.expect("fact compiling", within: .seconds(600))] + Step.tell("objects", Self.count)
    }

    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] { Step.tell("objects", Self.count) }

    func problems(_ evidence: SessionEvidence) -> [String] {
        guard let first = evidence.number("objects", fromEnd: 1), let last = evidence.number("objects") else {
            return ["the guest told nothing"]
        }
        return last > first ? [] : ["nothing was compiled: \(last) objects before and after"]
    }
}

/// A photograph is painted on, blurred and saved.
struct GimpScript: SessionScript {
    private static let photo = "painting.jpg"
    private static let original = "media/photo.jpg"
    /// Where the picture is, on a screen of 1280 × 800.
    private static let canvas = (x: 420...820, y: 250...600)
    private static let brush = Step.Chord(0x70)
    /// The menu Filters, Blur, Gaussian Blur, and its default button.
    private static let blur: [Step] = [
        .insist(
            [.press(Step.Chord(Keysym.escape)), .press(Step.Chord(Keysym.alt, 0x72)), .think(.seconds(1))]
                + [.press(Step.Chord(0x62)), .think(.seconds(1)), .press(Step.Chord(0x67))],
            on: "window Gaussian Blur", each: .seconds(30)),
        .think(.seconds(2)), .press(Step.Chord(Keysym.alt, 0x6F)),
    ]

    let seed: UInt64

    var preparation: [Step] {
        Step.tell("copied", "$(cp \(Self.original) \(Self.photo))")
            + [.command("gimp --no-splash \(Self.photo)"), .expect("[painting]", within: .seconds(400))]
            + [.think(.seconds(10)), .press(Self.brush), .think(.seconds(2))]
    }

    /// The blur is chosen once, then repeated by Ctrl+F.
    func round(_ number: Int) -> [Step] {
        var random = SessionRandom(seed: seed, stream: UInt64(number) + 1)
        func place() -> (x: Int, y: Int) { (random.number(Self.canvas.x), random.number(Self.canvas.y)) }
        let strokes = (0..<random.number(2...4)).flatMap { _ -> [Step] in
            let (from, to) = (place(), place())
            return [.move(x: from.x, y: from.y), .drag(x: to.x, y: to.y), .think(random.pause(300...1200))]
        }
        let filter = number == 0 ? Self.blur : [.press(.control("f"))]
        return [.press(Self.brush)] + strokes + filter + [.think(random.pause(1500...3000))]
    }

    /// Ctrl+E writes the file anew (files/…/menurc) once its dialog is confirmed; it is whole when its last bytes are those
    /// of a JPEG.
    var inspection: [Step] {
        let isWhole =
            "! cmp -s \(Self.original) \(Self.photo) && [ $(tail -c 2 \(Self.photo) | od -An -tx1 | tr -d ' ') = ffd9 ]"
        return [.command("until \(isWhole); do sleep 1; done; sync; fact saved"), .press(Step.Chord(Keysym.escape))]
            + [.insist([.press(.control("e"))], on: "window Export Image", each: .seconds(30))]
            + [.insist([.press(Step.Chord(Keysym.enter))], on: "fact saved", each: .seconds(30))]
            + Step.tell("picture", "$(stat -c %s \(Self.photo))")
    }

    func problems(_ evidence: SessionEvidence) -> [String] {
        var problems: [String] = []
        if (evidence.number("picture") ?? 0) < 10_000 { problems.append("GIMP saved no picture") }
        if evidence.colours < 200 { problems.append("the screen shows no photograph") }
        if evidence.pixelsChanged < 500 { problems.append("nothing was painted") }
        return problems
    }
}
