import Foundation
import NIOCore

/// One line to QEMU ("QMP Specification", 2.3 Issuing Commands).
///
/// Short on purpose: QEMU 7.2 reads its monitor one byte at a time, with a wake-up for each, so that every byte of a
/// command delays it by some microseconds, and a `stop` or `cont` lies in the guest's pause.
struct Request<Command: QMPCommand>: Encodable {
    let arguments: Command
    let id: UInt64

    private enum Key: String, CodingKey {
        case execute, arguments, id
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(Command.name, forKey: .execute)
        // A command without stored properties has no arguments to send.
        if MemoryLayout<Command>.size > 0 { try container.encode(arguments, forKey: .arguments) }
        try container.encode(id, forKey: .id)
    }

    /// The whole line with its end, to be written at once.
    func line() throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        var data = try encoder.encode(self)
        data.append(UInt8(ascii: "\n"))
        return ByteBuffer(bytes: data)
    }
}
