import CDBus
import Foundation
import Synchronization

/// A client of one message bus, on a thread of its own: calls methods, reads properties, hears signals. When the bus
/// goes, it connects again, until it is stopped.
package final class BusClient: Sendable {
    /// One reader. Ends after `stop`.
    package let news: AsyncStream<BusNews>
    private let continuation: AsyncStream<BusNews>.Continuation
    private let address: String
    private let matches: [String]
    private let wakeUp: WakeUp?
    private let desk = Mutex(Desk())

    /// What is handed to the thread.
    private struct Desk {
        var requests: [Request] = []
        var isStopped = false
        /// The thread is through with everything.
        var hasEnded = false
        var whoStops: [CheckedContinuation<Void, Never>] = []
    }

    private struct Request {
        let method: String
        let target: BusTarget
        let arguments: [BusArgument]
        let deadline: ContinuousClock.Instant
        let answer: CheckedContinuation<Result<BusValues, BusError>, Never>
    }

    /// Where the bus of the system is. (D-Bus Specification, "System message bus")
    package static var systemAddress: String {
        ProcessInfo.processInfo.environment["DBUS_SYSTEM_BUS_ADDRESS"] ?? "unix:path=/run/dbus/system_bus_socket"
    }

    /// - Parameter matches: rules of the signals that are wanted.
    package init(address: String, matches: [String]) {
        (news, continuation) = AsyncStream.makeStream(
            of: BusNews.self, bufferingPolicy: .bufferingNewest(BusLimits.newsKept))
        self.address = address
        self.matches = matches
        wakeUp = WakeUp()
        guard let wakeUp else {
            end(BusError(.notConnected, "there are no file descriptors left for the bus"))
            return
        }
        let thread = Thread { [self] in serve(wakeUp) }
        thread.name = "bus"
        thread.start()
    }

    /// Ends the thread, the connection and the stream, and waits for that. Who still waits for an answer gets an error.
    package func stop() async {
        stopSoon()
        await withCheckedContinuation { continuation in
            let hasEnded = desk.withLock { desk in
                if !desk.hasEnded { desk.whoStops.append(continuation) }
                return desk.hasEnded
            }
            if hasEnded { continuation.resume() }
        }
    }

    /// Like `stop`, without waiting.
    package func stopSoon() {
        desk.withLock { $0.isStopped = true }
        wakeUp?.signal()
    }

    /// Calls a method that takes texts. A service that doesn't run isn't started.
    /// - Throws: `notConnected`, `timedOut`, or `refused`.
    package func call(
        _ method: String, of target: BusTarget, _ arguments: [String] = [], timeout: Duration? = nil
    ) async throws(BusError) -> BusValues {
        try await call(method, of: target, with: arguments.map(BusArgument.text), timeout: timeout)
    }

    /// Calls a method that takes other things too.
    /// - Throws: `notConnected`, `timedOut`, or `refused`.
    package func call(
        _ method: String, of target: BusTarget, with arguments: [BusArgument], timeout: Duration? = nil
    ) async throws(BusError) -> BusValues {
        let deadline = ContinuousClock.now + (timeout ?? BusLimits.answer)
        return try await withCheckedContinuation { answer in
            let isTaken = desk.withLock { desk in
                if !desk.isStopped && !desk.hasEnded {
                    desk.requests.append(
                        Request(
                            method: method, target: target, arguments: arguments, deadline: deadline, answer: answer))
                    return true
                }
                return false
            }
            if isTaken {
                wakeUp?.signal()
            } else {
                answer.resume(returning: .failure(BusError(.notConnected, "the bus isn't listened to any more")))
            }
        }.get()
    }

    /// Reads one property.
    package func property(_ name: String, of target: BusTarget) async throws(BusError) -> BusValues {
        let properties = BusTarget(service: target.service, path: target.path, interface: BusTarget.properties)
        return try await call("Get", of: properties, [target.interface, name])
    }

    // MARK: On the thread

    private var isStopped: Bool { desk.withLock { $0.isStopped } }

    private func serve(_ wakeUp: WakeUp) {
        var rest = BusLimits.firstRest
        while !isStopped {
            do throws(BusError) {
                let connection = try connect()
                rest = BusLimits.firstRest
                continuation.yield(.connected)
                try exchange(on: connection, wakeUp)
            } catch {
                continuation.yield(.lost(error.message))
                wait(rest, answering: error, wakeUp)
                rest = min(rest * 2, BusLimits.longestRest)
            }
        }
        end(BusError(.notConnected, "the bus isn't listened to any more"))
    }

    private func connect() throws(BusError) -> BusConnection {
        let connection = try BusConnection(address: address)
        try connection.ask("Hello", of: .bus, [], unless: { isStopped })
        for match in matches { try connection.ask("AddMatch", of: .bus, [match], unless: { isStopped }) }
        return connection
    }

    /// Sends what is asked and hands out what comes, until it is stopped or the bus goes.
    private func exchange(on connection: BusConnection, _ wakeUp: WakeUp) throws(BusError) {
        var waiting: [UInt32: Request] = [:]
        defer { answer(Array(waiting.values), with: BusError(.notConnected, "the connection to the bus broke")) }
        while !isStopped {
            for request in takeRequests() { send(request, on: connection, &waiting) }
            try connection.exchange()
            while let message = connection.next() { handle(message, &waiting) }
            let now = ContinuousClock.now
            for (serial, request) in waiting where request.deadline <= now {
                waiting[serial] = nil
                answer([request], with: BusError(.timedOut, "\(request.target.service) didn't answer"))
            }
            let (descriptor, events) = try connection.pollable()
            wakeUp.wait(descriptor, for: events, until: waiting.values.map(\.deadline).min())
        }
    }

    private func send(_ request: Request, on connection: BusConnection, _ waiting: inout [UInt32: Request]) {
        do throws(BusError) {
            let message = try BusMessage.call(request.method, of: request.target, request.arguments)
            waiting[try connection.send(message)] = request
        } catch {
            answer([request], with: error)
        }
    }

    private func handle(_ message: borrowing BusMessage, _ waiting: inout [UInt32: Request]) {
        switch message.type {
        case DBUS_MESSAGE_TYPE_METHOD_RETURN:
            waiting.removeValue(forKey: message.answeredSerial)?.answer.resume(returning: .success(message.values))
        case DBUS_MESSAGE_TYPE_ERROR:
            waiting.removeValue(forKey: message.answeredSerial)?.answer.resume(returning: .failure(message.failure))
        case DBUS_MESSAGE_TYPE_SIGNAL:
            guard let sender = message.sender, let path = message.path, let interface = message.interface,
                let member = message.member
            else { return }
            continuation.yield(
                .signal(
                    BusSignal(
                        sender: sender, path: path, interface: interface, member: member, values: message.values)))
        default:
            // A call: nobody has a reason to call us, and gets no answer.
            return
        }
    }

    /// Rests; who asks meanwhile hears at once why not.
    private func wait(_ rest: Duration, answering error: BusError, _ wakeUp: WakeUp) {
        let end = ContinuousClock.now + rest
        repeat {
            answer(takeRequests(), with: BusError(.notConnected, error.message))
            wakeUp.wait(until: end)
        } while ContinuousClock.now < end && !isStopped
    }

    private func takeRequests() -> [Request] {
        desk.withLock { desk in
            defer { desk.requests = [] }
            return desk.requests
        }
    }

    private func answer(_ requests: [Request], with error: BusError) {
        for request in requests { request.answer.resume(returning: .failure(error)) }
    }

    private func end(_ reason: BusError) {
        let (requests, whoStops) = desk.withLock { desk in
            defer { (desk.hasEnded, desk.requests, desk.whoStops) = (true, [], []) }
            return (desk.requests, desk.whoStops)
        }
        answer(requests, with: reason)
        if !isStopped { continuation.yield(.lost(reason.message)) }
        continuation.finish()
        for waiting in whoStops { waiting.resume() }
    }
}
