import VMSyncCore
import VMSyncPolicy

/// What is planned.
enum WorldEvent {
    /// A daemon looks what there is to do, if this is still its last planned turn.
    case turn(device: Int, number: Int)
    case arrival(Letter)
    case answer(device: Int, question: Int, Answer)
    /// A published record reaches a device, by this connection of its.
    case record(device: Int, connection: Int, Int)
    case connect(device: Int, connection: Int)
    /// A device gives the VM to another one.
    case grant(Grant)
    case startDaemon(Int)
    case startHost(Int)
    case heal(Int)
    case freeDisk(Int)
    case startServer
    case freeServer
    /// Only with a canary: what the server has answered becomes durable.
    case becomeDurable
    case person
    case fault
    case calmDown
    case watch
}

extension WorldEvent {
    /// The devices that it may have changed. What a letter does at the server changes none.
    func devices(of count: Int) -> Range<Int> {
        switch self {
        case .arrival, .startServer, .freeServer, .becomeDurable: 0..<0
        case .turn(let device, _), .answer(let device, _, _), .record(let device, _, _), .connect(let device, _),
            .startDaemon(let device), .startHost(let device), .heal(let device), .freeDisk(let device):
            device..<device + 1
        case .person, .fault, .calmDown, .watch, .grant: 0..<count
        }
    }
}

/// A seeded world: devices, a server, what lies between them, a person, and faults; in one thread and virtual time.
///
/// Decisions are the product's (`LeaseState`, `DeviceSituation`, `Adoption`, …). What a daemon does about them is written
/// here as it is in VMSyncDevice and VMSyncReplica, with files as values and each durable write a place to die.
package struct World {
    var random: SeededRandom
    var settings: HistorySettings
    let canary: Canary?
    /// Milliseconds since the history began.
    var now = 0
    var queue = EventQueue<WorldEvent>()
    var server = SimulatedServer()
    var devices: [SimulatedDevice] = []
    var works = WorkTree()
    /// All that were ever sealed, by number.
    var sealed: [SealedCheckpoint] = []
    var ledger = Ledger()
    var ending = Ending()
    package var faults = FaultCounts()
    /// Events that have happened.
    package var steps = 0
    /// Lines of what happened, if somebody wants to read them.
    package private(set) var log: [String] = []
    private let isLogging: Bool

    /// A history ends long before; one that doesn't has got into a circle.
    static let stepsMax = 40_000

    package init(seed: UInt64, canary: Canary? = nil, isLogging: Bool = false) {
        random = SeededRandom(seed: seed)
        settings = HistorySettings(drawnFrom: &random)
        self.canary = canary
        self.isLogging = isLogging
    }

    /// A world in which nothing is planned, for tests that make their own states.
    init(settings: HistorySettings) {
        random = SeededRandom(seed: 0)
        self.settings = settings
        canary = nil
        isLogging = false
        makeDevices()
    }

    /// Lets the history happen.
    /// - Throws: the first violation.
    package mutating func run() throws(Violation) {
        begin()
        while !ending.isReached {
            guard steps < Self.stepsMax, let (time, event) = queue.next() else {
                throw Violation(invariant: .converges, detail: "no end after \(steps) steps, \(ending)")
            }
            now = time
            steps += 1
            try happen(event)
            try check(event.devices(of: devices.count))
        }
    }

    private mutating func makeDevices() {
        for index in 0..<settings.deviceCount {
            devices.append(SimulatedDevice(name: Names.devices[index], index: index))
        }
    }

    private mutating func begin() {
        makeDevices()
        publish()
        for device in devices.indices {
            devices[device].delay = random.within(1...60)
            devices[device].disk.hasBase = !random.chance(1000)
            startDaemon(device)
        }
        queue.plan(.person, at: 1)
        queue.plan(.fault, at: random.below(settings.faultGap))
        queue.plan(.calmDown, at: settings.unquiet)
    }

    private mutating func happen(_ event: WorldEvent) throws(Violation) {
        switch event {
        case .turn(let device, let number): turn(device, number)
        case .arrival(let letter): try arrive(letter)
        case .answer(let device, let question, let answer): take(answer, to: question, device)
        case .record(let device, let connection, let index): deliver(index, by: connection, device)
        case .connect(let device, let connection): connect(device, connection)
        case .grant(let grant): arrive(grant)
        case .startDaemon(let device): startDaemon(device)
        case .startHost(let device): startHost(device)
        case .heal(let device): heal(device)
        case .freeDisk(let device): devices[device].disk.isFull = false
        case .startServer: startServer()
        case .freeServer: server.isFull = false
        case .becomeDurable: server.undo = nil
        case .person: actAsPerson()
        case .fault: makeFault()
        case .calmDown: calmDown()
        case .watch: try watch()
        }
    }

    /// Whether a fault of this kind happens in a message or a write; then it is counted.
    mutating func goesWrong(_ kind: FaultKind) -> Bool {
        guard settings.rate > 0, settings.allows(kind), random.chance(settings.rate) else { return false }
        faults.note(kind)
        return true
    }

    /// - Parameter line: made only if somebody reads it.
    mutating func note(_ line: @autoclosure () -> String) {
        guard isLogging else { return }
        log.append("\(now) \(line())")
    }
}
