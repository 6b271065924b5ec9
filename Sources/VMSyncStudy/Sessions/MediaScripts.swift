import RFB

/// A film in a window.
struct VideoScript: SessionScript {
    /// Frames of the film in a second (media.sh), and how many must be seen for it to be a film.
    private static let framesPerSecond = 24.0
    private static let framesWanted = 10.0
    private static let position = Step.insist(
        [.press(Step.Chord(Keysym.function(9)))], on: "fact film", each: .seconds(6))

    let seed: UInt64

    /// Another seed begins elsewhere in the film.
    var preparation: [Step] {
        let start = SessionRandom(seed: seed).first(0...60)
        return Step.tell("closed", "$(pkill -x mpv; sleep 1; pgrep -xc mpv)")
            + [.command("mpv --start=\(start) --autofit=640 media/film.avi"), .expect("film.avi", within: .seconds(120))]
            + [.think(.seconds(5)), Self.position]
    }

    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] { [Self.position] + Step.tell("closed", "$(pkill -x mpv)") }

    func problems(_ evidence: SessionEvidence) -> [String] {
        guard let rate = Self.rate(evidence) else { return ["the player told nothing"] }
        var problems: [String] = []
        if rate < Self.framesWanted { problems.append("only \(rate) frames a second were shown") }
        if evidence.pixelsChanged < 50_000 { problems.append("the screen hardly changed") }
        return problems
    }

    /// Frames that were shown in a second, between the two facts. The film begins anew at its end.
    static func rate(_ evidence: SessionEvidence) -> Double? {
        guard let first = reading(evidence, 1), let last = reading(evidence, 0), evidence.ran > .zero else { return nil }
        let length = 120.0
        let played = (last.position - first.position + length).truncatingRemainder(dividingBy: length)
        let shown = played * framesPerSecond - (last.dropped - first.dropped)
        return (shown / evidence.ran.seconds * 10).rounded() / 10
    }

    private static func reading(_ evidence: SessionEvidence, _ nth: Int) -> (position: Double, dropped: Double)? {
        guard let words = evidence.fact("film", fromEnd: nth), words.count == 2,
            let position = Double(words[0].dropFirst("position=".count)),
            let dropped = Double(words[1].dropFirst("dropped=".count))
        else { return nil }
        return (position, dropped)
    }
}

/// Music in a player's window.
struct AudioScript: SessionScript {
    let seed: UInt64
    var preparation: [Step] { Music.start }
    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] { Music.tell + Music.stop }
    func problems(_ evidence: SessionEvidence) -> [String] { Music.problems(evidence) }
}

/// The steps of the music player.
enum Music {
    private static let played = Step.tell("music", "$(audtool current-song-output-length-seconds)")

    static let start: [Step] =
        stop + [.command("audacious media/music.mp3"), .expect("Audacious", within: .seconds(180)), .think(.seconds(5))] + played
    static let tell = played
    static let stop = Step.tell("quiet", "$(pkill -x audacious; sleep 1; pgrep -xc audacious)")

    static func problems(_ evidence: SessionEvidence) -> [String] {
        guard let first = evidence.number("music", fromEnd: 1), let last = evidence.number("music") else {
            return ["the player told nothing"]
        }
        // The song may begin anew once.
        let length = 180.0
        let played = (last - first + length).truncatingRemainder(dividingBy: length)
        return played >= evidence.ran.seconds / 2 ? [] : ["only \(played) s of music were played"]
    }
}

/// A recording from the sound card, into a file. Nobody speaks into a virtual machine's microphone, so the noise of a
/// room is mixed in: silence would compress to nothing.
struct RecordScript: SessionScript {
    private static let file = "take.wav"
    private static let bytesPerSecond = 44100.0 * 4

    let seed: UInt64

    var preparation: [Step] {
        Step.tell("closed", "$(pkill -x rec; rm -f \(Self.file); echo clean)")
            + [Step.terminal("rec -c 2 -r 44100 -b 16 \(Self.file) synth brownnoise mix")]
            + [.expect("window Terminal", within: .seconds(60)), .think(.seconds(6))]
            + Step.tell("take", "$(stat -c %s \(Self.file))")
    }

    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] {
        Step.tell("take", "$(pkill -INT -x rec; sleep 2; stat -c %s \(Self.file)) $(soxi -D \(Self.file))")
            + Step.tell("closed", "$(pkill -x xterm; echo)")
    }

    func problems(_ evidence: SessionEvidence) -> [String] {
        guard let first = evidence.number("take", fromEnd: 1), let last = evidence.number("take") else {
            return ["the guest told nothing of the recording"]
        }
        let seconds = (last - first) / Self.bytesPerSecond
        return seconds >= evidence.ran.seconds / 2 ? [] : ["only \(seconds) s were recorded"]
    }
}

extension SessionRandom {
    /// Its first number.
    fileprivate func first(_ range: ClosedRange<Int>) -> Int {
        var copy = self
        return copy.number(range)
    }
}
