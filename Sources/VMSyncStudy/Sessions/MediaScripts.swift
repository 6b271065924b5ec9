import RFB

/// A film in a window.
struct VideoScript: SessionScript {
    /// Length and frames in a second of the film (media.sh).
    private static let length = 120.0
    private static let framesPerSecond = 24.0
    /// How many must be shown in a second. An emulated guest on a busy host shows few of them; the verdict says how many.
    private static let framesWanted = 1.0
    private static let position = Step.insist(
        [.press(Step.Chord(Keysym.function(9)))], on: "fact film", each: .seconds(6))

    let seed: UInt64

    /// Another seed begins elsewhere in the film.
    var preparation: [Step] {
        let start = SessionRandom(seed: seed).first(0...60)
        return [
            .command("mpv --start=\(start) --autofit=640 media/film.avi"), .expect("film.avi", within: .seconds(120)),
        ]
            + [.think(.seconds(5)), Self.position]
    }

    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] { [Self.position] }

    func problems(_ evidence: SessionEvidence) -> [String] {
        guard let rate = Self.rate(evidence) else { return ["the player told nothing"] }
        var problems: [String] = []
        if rate < Self.framesWanted { problems.append("only \(rate) frames a second were shown") }
        if evidence.pixelsChanged < 50_000 { problems.append("the screen hardly changed") }
        return problems
    }

    /// Frames that were shown in a second of the guest's own time, between the two facts.
    static func rate(_ evidence: SessionEvidence) -> Double? {
        guard let first = reading(evidence, 1), let last = reading(evidence, 0), last.time > first.time else {
            return nil
        }
        let elapsed = last.time - first.time
        let played = Loop.played(from: first.position, to: last.position, length: length, in: elapsed)
        let shown = played * framesPerSecond - (last.dropped - first.dropped)
        return (shown / elapsed * 10).rounded() / 10
    }

    private static func reading(
        _ evidence: SessionEvidence, _ nth: Int
    ) -> (time: Double, position: Double, dropped: Double)? {
        guard let words = evidence.fact("film", fromEnd: nth), words.count == 3,
            let time = Double(words[0].dropFirst("time=".count)),
            let position = Double(words[1].dropFirst("position=".count)),
            let dropped = Double(words[2].dropFirst("dropped=".count))
        else { return nil }
        return (time, position, dropped)
    }
}

/// A film or a song that begins anew at its end.
enum Loop {
    /// Seconds that were played, of a loop of `length`, in about `elapsed`.
    static func played(from first: Double, to last: Double, length: Double, in elapsed: Double) -> Double {
        let once = last - first
        return once + length * max(((elapsed - once) / length).rounded(), once < 0 ? 1 : 0)
    }
}

/// Music in a player's window.
struct AudioScript: SessionScript {
    let seed: UInt64
    var preparation: [Step] { Music.start }
    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] { Music.tell }
    func problems(_ evidence: SessionEvidence) -> [String] { Music.problems(evidence) }
}

/// The steps of the music player.
enum Music {
    /// Seconds of the song (media.sh).
    private static let length = 180.0
    private static let played = Step.tell("music", "$(audtool current-song-output-length-seconds)")

    static let start: [Step] =
        [.command("audacious media/music.mp3"), .expect("Audacious", within: .seconds(180)), .think(.seconds(5))]
        + played
    static let tell = played

    static func problems(_ evidence: SessionEvidence) -> [String] {
        guard let first = evidence.number("music", fromEnd: 1), let last = evidence.number("music") else {
            return ["the player told nothing"]
        }
        let played = Loop.played(from: first, to: last, length: length, in: evidence.ran.seconds)
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
        Step.tell("clean", "$(rm -f \(Self.file))")
            + [Step.terminal("rec -c 2 -r 44100 -b 16 \(Self.file) synth brownnoise mix")]
            + [.expect("window Terminal", within: .seconds(60)), .think(.seconds(6))]
            + Step.tell("take", "$(stat -c %s \(Self.file))")
    }

    func round(_ number: Int) -> [Step] { [.think(.seconds(5))] }
    var inspection: [Step] {
        Step.tell(
            "take",
            "$(pkill -INT -x rec; while pgrep -x rec; do sleep 0.2; done > /dev/null; stat -c %s \(Self.file)) "
                + "$(soxi -D \(Self.file))")
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
