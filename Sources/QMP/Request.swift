import Foundation
import NIOCore

/// One line to QEMU ("QMP Specification", 2.3 Issuing Commands).
struct Request<Command: QMPCommand>: Encodable {
    let execute = Command.name
    let arguments: Command
    let id: UInt64

    /// The whole line with its end, to be written at once.
    func line() throws -> ByteBuffer {
        var data = try JSONEncoder().encode(self)
        data.append(UInt8(ascii: "\n"))
        return ByteBuffer(bytes: data)
    }
}
