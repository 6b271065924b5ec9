import NIOCore

extension Session {
    /// Sends `command` in one write and waits for its answer.
    nonisolated(nonsending) func execute<Command: QMPCommand>(
        _ command: Command, timeout: Duration, on channel: any Channel
    ) async throws -> Command.Response {
        let id = waiters.nextID()
        let line = try Request(arguments: command, id: id).line()
        let answer = try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                waiters.add(id, .init(command: Command.name, response: Command.Response.self), continuation)
                // Cancelled before it waited: the handler below found nothing to settle.
                if Task.isCancelled { waiters.settle(id, .failure(CancellationError())) }
                channel.eventLoop.execute {
                    self.send(line, of: id, command: Command.name, timeout: timeout, on: channel)
                }
            }
        } onCancel: {
            waiters.settle(id, .failure(CancellationError()))
        }
        guard let response = answer as? Command.Response else {
            throw QMPError.malformed("answer to \(Command.name) of type \(type(of: answer))")
        }
        return response
    }

    /// On the event loop: starts the clock of a command that still waits, and writes it.
    private func send(_ line: ByteBuffer, of id: UInt64, command: String, timeout: Duration, on channel: any Channel) {
        let timer = channel.eventLoop.scheduleTask(in: TimeAmount(timeout)) {
            self.waiters.settle(id, .failure(QMPError.timedOut(command: command)))
        }
        guard waiters.setTimer(timer, of: id) else { return timer.cancel() }
        // Commands that timed out leave their bytes behind when the peer doesn't read: no more of them then.
        guard channel.isWritable else { return waiters.settle(id, .failure(QMPError.busy(command: command))) }
        channel.writeAndFlush(line, promise: nil)
    }
}
