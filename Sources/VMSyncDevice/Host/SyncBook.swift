import VMSyncCore
import VMSyncPolicy

/// What a host keeps in mind for its decisions about one VM: what transfers took, what the guest writes, what was decided
/// last.
struct SyncBook {
    typealias Instant = ContinuousClock.Instant

    /// To the server.
    var up = TransferModel()
    /// What is on its way there.
    private var sending: OpenTransfer?
    /// What the meter of all connections showed last.
    private var moved: UInt64 = 0
    /// From the server.
    var down = TransferModel()
    var unsent = UnsentModel()
    var quiet = QuietWatch()
    /// Seconds of a checkpoint besides its transfer: pause and encoding.
    var making = Average()
    /// Seconds of an arrival besides its transfer: decrypting, applying, loading.
    private var arriving = Average()
    private var lastSwitch: SwitchID?
    /// Seconds between checkpoints.
    private var pace = Average()
    /// When the last one was begun; nil makes the next one due.
    private(set) var lastCheckpoint: Instant?
    private(set) var lastLook: Instant?
    /// Whether the guest has written since; nil if nobody can say.
    var hasChanged: Bool?
    /// Since the last checkpoint.
    private(set) var event: Occasion?
    /// What holds, as of the last decision.
    var policy = SyncPolicy()
    var decision = SyncDecision(step: .wait(nil), reason: .nothingWritten)
    /// Which cap forbids the next pack, if one does.
    var capReason: SyncReason?
    /// When the decision must be looked at again.
    var nextLook: Instant?
    /// Before that no checkpoint is kept here that can't be sent.
    var keepAt = Instant.now
    var lastFetch: Instant?
    /// The way from the server to the slowest of the devices that follow; nil if none has told.
    var slowestStandby: LinkSummary?

    /// How often what the guest writes is looked at where nothing depends on it but what `status` says.
    static let leisurelyLook = Duration.seconds(1)
    /// What decrypting, applying and loading take on the target, until a switch has shown it.
    private static let usualArrival = Estimate(0.1, deviation: 0.05)
    /// What pause and encoding take, until a checkpoint has shown it.
    private static let usualMaking = Estimate(0.05, deviation: 0.05)
    private static let arrivalSteps = ["decrypt", "apply", "load", "continue"]
    private static let paceMax = 60.0

    /// - Parameter isUsual: false for one of several rounds before a switch, which say nothing of the usual pace.
    mutating func beginCheckpoint(isUsual: Bool = true) {
        let now = Instant.now
        if isUsual, let lastCheckpoint { pace.note(min((now - lastCheckpoint).seconds, Self.paceMax)) }
        lastCheckpoint = now
        event = nil
        hasChanged = nil
    }

    mutating func makeDue() { lastCheckpoint = nil }

    mutating func note(_ event: Occasion) { self.event = max(self.event ?? event, event) }

    /// Seconds since the last checkpoint was begun.
    var sinceLast: Double? { lastCheckpoint.map { (.now - $0).seconds } }

    /// Usual seconds from one checkpoint to the next.
    var interval: Double { pace.estimate?.mean ?? policy.every ?? Self.paceMax }

    var isLookDue: Bool {
        guard let lastLook else { return true }
        let rest = policy.switchWithin == nil ? Self.leisurelyLook : .seconds(SyncDecision.look)
        return .now - lastLook >= rest
    }

    /// Seconds by a clock that doesn't jump.
    private static var seconds: Double { (Instant.now - start).seconds }
    static let start = Instant.now

    /// - Parameter bytes: that a look found.
    mutating func noteLook(_ bytes: Double, hasChanged: Bool) {
        let now = Self.seconds
        lastLook = .now
        self.hasChanged = hasChanged
        unsent.noteLook(bytes, at: now)
        if quiet.note(growth: unsent.lastGrowth, at: now) { note(.guestQuiet) }
    }

    /// A pack was made.
    mutating func notePack(_ bytes: Int) { unsent.notePack(bytes, at: Self.seconds) }

    /// A switch of this VM, from or to any device: it shows what the next one will take.
    mutating func note(_ ended: SwitchRecord) {
        guard ended.state == .done, ended.id != lastSwitch, ended.steps["load"] != nil else { return }
        lastSwitch = ended.id
        arriving.note(Self.arrivalSteps.reduce(0) { $0 + (ended.steps[$1] ?? 0) } / 1000)
    }

    // MARK: A pack on its way

    mutating func beginSending(_ bytes: Int, meter: UInt64) {
        moved = meter
        sending = OpenTransfer(of: bytes, at: Self.seconds, meter: meter)
    }

    mutating func endSending() { sending = nil }

    mutating func noteMoved(_ meter: UInt64) { moved = meter }

    /// Bytes of it that are on the other side.
    var gone: Int { sending?.gone(meter: moved) ?? 0 }

    var forecast: SwitchForecast {
        SwitchForecast(
            up: (sending?.model(up, at: Self.seconds, meter: moved) ?? up).link, down: slowestStandby,
            fixed: (making.estimate ?? Self.usualMaking) + (arriving.estimate ?? Self.usualArrival))
    }
}
