import Foundation

/// One line from QEMU ("QMP Specification", 2.2 Server Greeting, 2.4 Commands Responses, 2.5 Asynchronous events).
///
/// Decoding takes the table of waiting commands, because only the id in the line tells the type of what it returns;
/// so each line is parsed once.
enum Message: DecodableWithConfiguration {
    case greeting(QMPVersion)
    case event(QMPEvent)
    case answer(id: UInt64, Result<any Sendable, QMPError>)
    /// An answer that nobody waits for (any more): the command timed out or was cancelled, or the peer invents ids.
    case unclaimed(id: UInt64)

    private enum Key: String, CodingKey {
        case greeting = "QMP"
        case event, id, error
        case value = "return"
    }

    private struct Greeting: Decodable {
        let version: QMPVersion
    }

    private struct Refusal: Decodable {
        let `class`: String
        let desc: String
    }

    init(from decoder: any Decoder, configuration waiters: Waiters) throws {
        let line = try decoder.container(keyedBy: Key.self)
        if line.contains(.event) {
            self = .event(try QMPEvent(from: decoder))
        } else if line.contains(.greeting) {
            self = .greeting(try line.decode(Greeting.self, forKey: .greeting).version)
        } else {
            self = try Self.answer(in: line, to: waiters)
        }
    }

    private static func answer(in line: KeyedDecodingContainer<Key>, to waiters: Waiters) throws -> Message {
        let id = try line.decode(UInt64.self, forKey: .id)
        guard let expected = waiters.expectation(of: id) else { return .unclaimed(id: id) }
        if line.contains(.error) {
            let refusal = try line.decode(Refusal.self, forKey: .error)
            let error = QMPError.refused(
                command: expected.command, errorClass: refusal.class, description: refusal.desc)
            return .answer(id: id, .failure(error))
        }
        do {
            return .answer(id: id, .success(try line.decode(expected.response, forKey: .value)))
        } catch {
            return .answer(id: id, .failure(.malformed("answer to \(expected.command): \(error)")))
        }
    }
}
