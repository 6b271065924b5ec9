import Foundation
import Synchronization
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

private let sendToSocket = send(_:_:_:_:)

/// A line to the agent in a guest (QEMU Guest Agent Protocol Reference). A guest may have none, or one that lies; nothing but
/// the clock depends on it.
///
/// The connection stays, also when nothing is asked: while nobody listens, the agent wakes ten times a second to look.
/// Calls wait on the pool for long work, one after the other.
package final class GuestAgent: Sendable {
    private let descriptor: Int32
    private let turn = Mutex<Void>(())

    /// The longest answer that is read.
    private static let answerBytesMax = 64 << 10
    /// Ends what an earlier client may have left in the line ("guest-sync-delimited").
    private static let sentinel: UInt8 = 0xFF

    /// - Parameter path: of QEMU's socket.
    /// - Throws: `io` if nobody listens there.
    package init(path: String) throws(VMSyncError) {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .system("socket", path: path) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        precondition(bytes.count < MemoryLayout.size(ofValue: address.sun_path), "MachinePaths keeps sockets short")
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let connected = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        // `deinit` closes it also then.
        guard connected == 0 else { throw .system("connect", path: path) }
    }

    deinit { close(descriptor) }

    /// Seconds that the guest's clock may be off without being set: to set it, the agent starts a program.
    private static let tolerance = 0.1

    /// Sets the guest's clock to the host's, if it is off.
    /// - Returns: how many seconds the guest's is ahead of the host's afterwards.
    /// - Throws: `timeout` if no agent answers in time; `machine` if it can't.
    package func setClock(within limit: Duration) async throws -> Double {
        try await LongWork.pool.runIfActive { [self] in
            try turn.withLock { _ in
                let deadline = ContinuousClock.now + limit
                try synchronize(until: deadline)
                let skew = try skew(until: deadline)
                guard abs(skew) > Self.tolerance else { return skew }
                // It may refuse because it can't set the hardware clock too: what the clock says then is what counts.
                _ = try ask("guest-set-time", ["time": Self.hostNanoseconds], until: deadline)
                return try self.skew(until: deadline)
            }
        }
    }

    private func skew(until deadline: ContinuousClock.Instant) throws(VMSyncError) -> Double {
        let before = Self.hostNanoseconds
        let answer = try ask("guest-get-time", nil, until: deadline)
        let after = Self.hostNanoseconds
        guard let time = answer.value else {
            throw VMSyncError(
                .machine, "the guest's agent doesn't tell the time: \(answer.error?.desc ?? "no reason given")")
        }
        return (Double(time) - (Double(before) + Double(after)) / 2) / 1e9
    }

    private static var hostNanoseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    // MARK: Questions and answers

    private struct Question: Encodable {
        let execute: String
        let arguments: [String: Int64]?
    }

    private struct Answer: Decodable {
        struct Refusal: Decodable { let desc: String }
        /// A number, if that is what was answered.
        let value: Int64?
        let error: Refusal?

        private enum CodingKeys: String, CodingKey {
            case value = "return"
            case error
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            value = try? container.decode(Int64.self, forKey: .value)
            error = try container.decodeIfPresent(Refusal.self, forKey: .error)
        }
    }

    /// Both sides begin anew, whatever was said before.
    private func synchronize(until deadline: ContinuousClock.Instant) throws(VMSyncError) {
        let number = Int64.random(in: 1...Int64(Int32.max))
        try send([Self.sentinel])
        var answer = try ask("guest-sync-delimited", ["id": number], until: deadline)
        while answer.value != number { answer = try receive(until: deadline) }
    }

    private func ask(
        _ command: String, _ arguments: [String: Int64]?, until deadline: ContinuousClock.Instant
    ) throws(VMSyncError) -> Answer {
        let json: Data
        do { json = try JSONEncoder().encode(Question(execute: command, arguments: arguments)) } catch {
            throw VMSyncError(.bug, "\(command) can't be encoded: \(error)")
        }
        try send(Array(json) + [UInt8(ascii: "\n")])
        return try receive(until: deadline)
    }

    /// A question is shorter than what the socket takes at once, unless nobody has read for long.
    private func send(_ bytes: [UInt8]) throws(VMSyncError) {
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        let sent = bytes.withUnsafeBytes { sendToSocket(descriptor, $0.baseAddress, $0.count, flags) }
        guard sent == bytes.count else { throw VMSyncError(.machine, "the line to the guest's agent is full, or gone") }
    }

    /// The next line that is an answer.
    private func receive(until deadline: ContinuousClock.Instant) throws(VMSyncError) -> Answer {
        var line: [UInt8] = []
        while true {
            let byte = try nextByte(until: deadline)
            guard byte == UInt8(ascii: "\n") || byte == Self.sentinel else {
                line.append(byte)
                guard line.count < Self.answerBytesMax else {
                    throw VMSyncError(.machine, "the guest's agent doesn't stop talking")
                }
                continue
            }
            if let answer = try? JSONDecoder().decode(Answer.self, from: Data(line)) { return answer }
            line = []
        }
    }

    private func nextByte(until deadline: ContinuousClock.Instant) throws(VMSyncError) -> UInt8 {
        let left = (deadline - .now).seconds
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard left > 0, poll(&waiting, 1, Int32(min(left * 1000 + 1, 60_000))) > 0 else {
            throw VMSyncError(.timeout, "no agent answers in the guest")
        }
        var byte: UInt8 = 0
        guard read(descriptor, &byte, 1) == 1 else { throw VMSyncError(.machine, "QEMU has closed the agent's line") }
        return byte
    }
}
