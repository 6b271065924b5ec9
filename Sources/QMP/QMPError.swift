/// Why a QMP command or a connection failed.
///
/// A cancelled task gets Swift's `CancellationError` instead.
package enum QMPError: Error, Sendable, Equatable {
    /// QEMU understood the command and said no. `errorClass` is QEMU's (`GenericError`, `CommandNotFound`,
    /// `DeviceNotFound`…); `description` is its sentence for people.
    case refused(command: String, errorClass: String, description: String)
    /// There is no connection, or it ended before the answer came; the command may or may not have been carried out.
    case closed(reason: String)
    /// No answer in time. The command may still be carried out later; the connection stays usable.
    case timedOut(command: String)
    /// The peer sent something that isn't QMP, or an answer that hasn't the shape of the command's response.
    case malformed(String)
    /// The peer sent a line longer than `QMPLimits.lineBytesMax`.
    case tooLong
    /// Too many commands are in flight, or the peer has stopped reading them; this one was not sent.
    case busy(command: String)
}

extension QMPError: CustomStringConvertible {
    /// One sentence for a log or a person.
    package var description: String {
        switch self {
        case .refused(let command, let errorClass, let description):
            "QEMU refused \(command): \(description) (\(errorClass))"
        case .closed(let reason): "no QMP connection: \(reason)"
        case .timedOut(let command): "QEMU did not answer \(command) in time"
        case .malformed(let text): "QEMU sent what is not QMP: \(text)"
        case .tooLong: "QEMU sent a line of more than \(QMPLimits.lineBytesMax) bytes"
        case .busy(let command): "\(command) was not sent: QEMU has not answered the commands before it"
        }
    }
}
