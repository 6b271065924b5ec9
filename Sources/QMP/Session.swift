import Foundation
import Logging
import NIOCore
import Synchronization

/// The talk with one QEMU: what it says goes to who waits for it. Called by the connection's event loop only, except
/// for `finish`.
final class Session: Sendable {
    let waiters = Waiters()
    let feed: EventFeed
    let greeting: EventLoopPromise<QMPVersion>
    private let hasGreeted = Atomic(false)
    private let eventCount = Atomic<UInt64>(0)
    private let decoder = JSONDecoder()
    private let logger: Logger

    init(on loop: any EventLoop, logger: Logger) {
        self.logger = logger
        feed = EventFeed(logger: logger)
        greeting = loop.makePromise()
    }

    /// Takes one line.
    /// - Throws: `malformed` if it isn't QMP; the connection must then be given up.
    func receive(_ line: ByteBuffer) throws(QMPError) {
        let message: Message
        do {
            message = try decoder.decode(Message.self, from: Data(line.readableBytesView), configuration: waiters)
        } catch {
            throw .malformed("\(error)")
        }
        guard case .greeting(let version) = message else { return try receive(message) }
        if hasGreeted.exchange(true, ordering: .relaxed) { throw .malformed("a second greeting") }
        greeting.succeed(version)
    }

    private func receive(_ message: Message) throws(QMPError) {
        guard hasGreeted.load(ordering: .relaxed) else { throw .malformed("no greeting") }
        switch message {
        case .answer(let id, let result): waiters.settle(id, result.mapError { $0 })
        case .unclaimed(let id): logger.debug("QMP answer to nobody", metadata: ["id": "\(id)"])
        case .event(let event): publish(event)
        case .greeting: break
        }
    }

    private func publish(_ event: QMPEvent) {
        var event = event
        event.number = eventCount.wrappingAdd(1, ordering: .relaxed).newValue
        if case .unknown(let name) = event.kind { logger.debug("unknown QMP event", metadata: ["event": "\(name)"]) }
        feed.send(event)
    }

    /// Ends the talk for everybody who waits. Only the first reason counts.
    func finish(_ error: QMPError) {
        guard waiters.finish(error) else { return }
        greeting.fail(error)
        feed.finish()
    }
}
