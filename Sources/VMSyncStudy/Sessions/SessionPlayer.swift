import NIOCore
import NIOPosix
import RFB
import VMSyncCore

/// Plays steps at a desk, as hands and eyes would.
struct SessionPlayer {
    /// How long a key stays down.
    private static let keyDown = Duration.milliseconds(30)
    /// An emulated guest takes a key of a script in this time.
    private static let quickKey = Duration.milliseconds(25)
    /// A hand moves the pointer in this many visible steps.
    private static let pointerSteps = 8
    private static let pointerStep = Duration.milliseconds(30)
    private static let leftButton: UInt8 = 1
    private static let wheelUp: UInt8 = 8
    private static let wheelDown: UInt8 = 16

    private static let modifiers = [Keysym.shift, Keysym.control, Keysym.alt]
    /// Longer than the VM is paused for a checkpoint.
    private static let pause = Duration.milliseconds(60)

    let screen: RFBClient
    let desk: Desk
    /// Hesitation between keys; of the session's seed.
    var random: SessionRandom
    var facts: GuestFacts
    /// All that was typed at a person's pace.
    private(set) var typed = ""
    private var console: (any Channel)?
    private var place = (x: 640, y: 400)
    /// Facts before this one were waited for already.
    private var awaited = 0

    init(screen: RFBClient, desk: Desk, random: SessionRandom, facts: GuestFacts) {
        self.screen = screen
        self.desk = desk
        self.random = random
        self.facts = facts
        awaited = facts.all.count
    }

    /// Plays `steps` one after the other, no new one after `deadline`; thinking ends with it.
    mutating func play(_ steps: [Step], until deadline: ContinuousClock.Instant? = nil) async throws {
        for step in steps {
            if let deadline, ContinuousClock.now >= deadline { return }
            try await play(step, until: deadline)
        }
    }

    private mutating func play(_ step: Step, until deadline: ContinuousClock.Instant?) async throws {
        switch step {
        case .type(let text, let pace): try await type(text, pace)
        case .press(let chord): try await press(chord)
        case .move(let x, let y): try await lead(to: (x, y), buttons: 0)
        case .click: try await click(Self.leftButton)
        case .drag(let x, let y): try await drag(to: (x, y))
        case .scroll(let notches): try await scroll(notches)
        case .think(let time): try await think(time, until: deadline)
        case .expect(let text, let limit): try await expect(text, within: limit)
        case .insist(let steps, let text, let limit): try await insist(steps, on: text, each: limit)
        case .command(let line): try await command(line)
        }
    }

    private mutating func insist(_ steps: [Step], on text: String, each limit: Duration) async throws {
        for attempt in 1...Step.triesMax {
            try await play(steps)
            do { return try await expect(text, within: limit) } catch let error as VMSyncError
                where error.code == .timeout && attempt < Step.triesMax
            {
                // A modifier whose release was lost would change all that follows.
                for key in Self.modifiers { try await hold([key]) }
            }
        }
    }

    /// The connection stays until the session's part is over: QEMU takes what is written when the guest does.
    private mutating func command(_ line: String) async throws {
        let channel: any Channel
        if let console {
            channel = console
        } else {
            channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(unixDomainSocketPath: desk.commands).get()
            console = channel
        }
        try await channel.writeAndFlush(ByteBuffer(string: resolved(line) + "\n")).get()
    }

    /// Lets go of the guest's console.
    func close() async {
        try? await console?.close().get()
    }

    private func resolved(_ text: String) -> String {
        text.replacing(Step.pages, with: "http://\(PageServer.hostInGuest):\(desk.pages.port)")
    }

    // MARK: Keyboard

    private mutating func type(_ text: String, _ pace: Step.Pace) async throws {
        for letter in resolved(text) {
            guard let key = Keysym.typing(letter) else {
                throw VMSyncError(.bug, "a session types \"\(letter)\", which is on no key")
            }
            try await press(key.shifted ? Step.Chord(Keysym.shift, key.keysym) : Step.Chord(key.keysym))
            try await Task.sleep(for: pace == .quick ? Self.quickKey : random.pause(90...240))
        }
        if pace == .person { typed += text }
    }

    /// Control and Alt are let go a second time: a release that QEMU drops, because the VM is paused, would make commands
    /// of all that is typed next. QEMU passes a release on only after a press.
    private func press(_ chord: Step.Chord) async throws {
        try await hold(chord.keysyms)
        for key in chord.keysyms where key == Keysym.control || key == Keysym.alt {
            try await Task.sleep(for: Self.pause)
            try await hold([key])
        }
    }

    private func hold(_ keys: [UInt32]) async throws {
        for key in keys { try await screen.key(key, down: true) }
        try await Task.sleep(for: Self.keyDown)
        for key in keys.reversed() { try await screen.key(key, down: false) }
    }

    // MARK: Pointer

    private mutating func lead(to target: (x: Int, y: Int), buttons: UInt8) async throws {
        let start = place
        for step in 1...Self.pointerSteps {
            place.x = start.x + (target.x - start.x) * step / Self.pointerSteps
            place.y = start.y + (target.y - start.y) * step / Self.pointerSteps
            try await screen.pointer(x: place.x, y: place.y, buttons: buttons)
            try await Task.sleep(for: Self.pointerStep)
        }
    }

    private func click(_ button: UInt8) async throws {
        try await screen.pointer(x: place.x, y: place.y, buttons: button)
        try await Task.sleep(for: Self.keyDown)
        try await screen.pointer(x: place.x, y: place.y, buttons: 0)
    }

    private mutating func drag(to target: (x: Int, y: Int)) async throws {
        try await screen.pointer(x: place.x, y: place.y, buttons: Self.leftButton)
        try await lead(to: target, buttons: Self.leftButton)
        try await screen.pointer(x: place.x, y: place.y, buttons: 0)
    }

    private mutating func scroll(_ notches: Int) async throws {
        for _ in 0..<abs(notches) {
            try await click(notches > 0 ? Self.wheelDown : Self.wheelUp)
            try await Task.sleep(for: random.pause(120...350))
        }
    }

    // MARK: Waiting

    private func think(_ time: Duration, until deadline: ContinuousClock.Instant?) async throws {
        let end = ContinuousClock.now + time
        try await Task.sleep(until: min(end, deadline ?? end), clock: .continuous)
    }

    private mutating func expect(_ text: String, within limit: Duration) async throws {
        let deadline = ContinuousClock.now + limit
        while true {
            try facts.read()
            if let found = facts.all[awaited...].firstIndex(where: { $0.contains(text) }) {
                awaited = found + 1
                return
            }
            guard ContinuousClock.now < deadline else {
                throw VMSyncError(
                    .timeout,
                    "the desktop didn't tell \"\(text)\" within \(limit); its last words: "
                        + facts.all.suffix(3).joined(separator: " | "))
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
