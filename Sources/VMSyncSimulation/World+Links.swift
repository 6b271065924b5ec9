import VMSyncCore
import VMSyncPolicy

/// What lies between a device and the server: delay, loss, and connections on which records come.
extension World {
    /// Milliseconds until a device gives a request up that nobody answers.
    private static let timeout = 500...8000
    /// Milliseconds more that a request may be on its way after that.
    private static let lateness = 0...70_000
    private static let reconnecting = 50...3000

    /// Asks the server and goes on with `awaited` when the answer comes, or none.
    mutating func ask(_ device: Int, _ request: Request, then awaited: Awaited) {
        devices[device].question += 1
        devices[device].daemon.awaited = awaited
        note("device \(device) asks \(request), for \(awaited)")
        send(Letter(from: device, question: devices[device].question, request: request))
    }

    /// Sends a request whose answer nobody waits for.
    mutating func tell(_ request: Request, from device: Int) {
        send(Letter(from: device, question: 0, request: request))
    }

    private mutating func send(_ letter: Letter) {
        if devices[letter.from].isCutFromServer || goesWrong(.requestLost) {
            giveUp(letter)
            return
        }
        if goesWrong(.requestLate) {
            let timeout = giveUp(letter)
            queue.plan(.arrival(letter), at: timeout + random.within(Self.lateness))
            return
        }
        queue.plan(.arrival(letter), at: now + transit(letter.from))
    }

    /// The device will have waited in vain.
    /// - Returns: until when.
    @discardableResult
    private mutating func giveUp(_ letter: Letter) -> Int {
        let timeout = now + random.within(Self.timeout)
        planAnswer(.failed(.unavailable), to: letter, at: timeout)
        return timeout
    }

    private mutating func planAnswer(_ answer: Answer, to letter: Letter, at time: Int) {
        guard letter.question != 0 else { return }
        queue.plan(.answer(device: letter.from, question: letter.question, answer), at: time)
    }

    /// Milliseconds that something takes between the server and `device` this time.
    mutating func transit(_ device: Int) -> Int {
        let delay = devices[device].delay
        return delay + random.below(delay + 1)
    }

    // MARK: At the server

    mutating func arrive(_ letter: Letter) throws(Violation) {
        guard server.isUp else { return planAnswer(.failed(.unavailable), to: letter, at: now + transit(letter.from)) }
        server.heard[letter.from] = now
        guard let answer = try carryOut(letter.request, by: letter.from) else {
            // It died on the way: the connection breaks.
            return planAnswer(.failed(.unavailable), to: letter, at: now + transit(letter.from))
        }
        if devices[letter.from].isCutFromServer || goesWrong(.answerLost) {
            giveUp(letter)
        } else {
            planAnswer(answer, to: letter, at: now + transit(letter.from))
        }
    }

    /// The server's record has changed: everybody who is connected hears of it.
    mutating func publish() {
        server.published.append(server.state(of: server.lease, now: now))
        for device in devices.indices where devices[device].isConnected { sendRecord(to: device) }
    }

    private mutating func sendRecord(to device: Int) {
        let index = server.published.count - 1
        let connection = devices[device].connection
        let event = WorldEvent.record(device: device, connection: connection, index)
        var arrival = now + transit(device)
        if goesWrong(.recordLate) { arrival += random.below(2000) }
        queue.plan(event, at: arrival)
        if goesWrong(.recordRepeated) { queue.plan(event, at: arrival + random.below(1000)) }
    }

    // MARK: Connections

    /// The connection of `device` has broken, and is made anew as soon as that is possible.
    mutating func disconnect(_ device: Int) {
        devices[device].connection += 1
        devices[device].isConnected = false
        let reconnected = now + random.within(Self.reconnecting)
        queue.plan(.connect(device: device, connection: devices[device].connection), at: reconnected)
    }

    mutating func connect(_ device: Int, _ connection: Int) {
        guard connection == devices[device].connection, devices[device].isDaemonUp else { return }
        guard server.isUp, !devices[device].isCutFromServer else { return disconnect(device) }
        server.heard[device] = now
        devices[device].isConnected = true
        _ = readRecord()
        sendRecord(to: device)
    }

    /// A record reaches the daemon, whatever it is doing.
    mutating func deliver(_ index: Int, by connection: Int, _ device: Int) {
        guard connection == devices[device].connection, devices[device].isDaemonUp else { return }
        takeRecord(index, device)
        wake(device)
    }
}
