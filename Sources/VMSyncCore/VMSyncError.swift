/// What went wrong, for a person: what failed, why, on which device, and the next command to type.
///
/// One error type for all vmsync modules. The protocol libraries `QMP` and `NBD` keep small enums of their own, because
/// they know nothing of vmsync; who calls them wraps what they throw.
package struct VMSyncError: Error, Sendable, Codable, CustomStringConvertible {
    /// What kind of failure it is. Open, so that a newer peer may send a code that this build does not know;
    /// the command line treats an unknown code as a plain failure.
    package struct Code: RawRepresentable, Hashable, Sendable, Codable {
        package let rawValue: String
        package init(rawValue: String) { self.rawValue = rawValue }

        /// A value that the user or a peer gave can't be right.
        package static let invalidInput = Code(rawValue: "invalid-input")
        /// The named VM, device, checkpoint or file isn't there.
        package static let notFound = Code(rawValue: "not-found")
        package static let alreadyExists = Code(rawValue: "already-exists")
        /// Somebody else holds the lease, or another switch runs.
        package static let leaseHeld = Code(rawValue: "lease-held")
        /// A commit with an old epoch: the lease has moved on since.
        package static let fenced = Code(rawValue: "fenced")
        /// A commit that doesn't follow the head.
        package static let outOfOrder = Code(rawValue: "out-of-order")
        /// This device can't run the VM: QEMU version, machine type or CPU model.
        package static let incompatible = Code(rawValue: "incompatible")
        /// Bytes that don't match their checksum, or a file that doesn't parse.
        package static let corrupt = Code(rawValue: "corrupt")
        /// The server or the daemon doesn't answer.
        package static let unavailable = Code(rawValue: "unavailable")
        package static let unauthorized = Code(rawValue: "unauthorized")
        /// The VM is in a state in which this can't be done.
        package static let wrongState = Code(rawValue: "wrong-state")
        /// QEMU is missing, refused to start, or died.
        package static let machine = Code(rawValue: "machine")
        /// Not enough memory or disk.
        package static let noSpace = Code(rawValue: "no-space")
        package static let timeout = Code(rawValue: "timeout")
        package static let cancelled = Code(rawValue: "cancelled")
        /// The operating system refused something.
        package static let io = Code(rawValue: "io")
        /// A fault in vmsync itself.
        package static let bug = Code(rawValue: "bug")
    }

    package var code: Code
    /// One sentence: what failed and why.
    package var message: String
    /// The next command to type, or what to do; shown on its own line.
    package var hint: String?
    /// The name of the device on which it failed, when it isn't the one that reports it.
    package var device: String?

    package init(_ code: Code, _ message: String, hint: String? = nil, device: String? = nil) {
        self.code = code
        self.message = message
        self.hint = hint
        self.device = device
    }

    /// The same failure, said with what was being done when it happened.
    package func during(_ action: String) -> VMSyncError {
        var error = self
        error.message = "\(action): \(message)"
        return error
    }

    package var description: String {
        var text = message
        if let device { text = "\(device): \(text)" }
        if let hint { text += "\n  next: \(hint)" }
        return text
    }
}

extension VMSyncError {
    /// Any error as a `VMSyncError`; one that isn't yet becomes `io` with its own description.
    package init(_ error: any Error, during action: String? = nil) {
        let wrapped: VMSyncError
        switch error {
        case let known as VMSyncError: wrapped = known
        case is CancellationError: wrapped = VMSyncError(.cancelled, "cancelled")
        default: wrapped = VMSyncError(.io, "\(error)")
        }
        self = action.map(wrapped.during) ?? wrapped
    }
}
