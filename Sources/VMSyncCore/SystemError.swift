#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

extension VMSyncError {
    /// The failure of the system call that has just returned -1: `errno` in words, and what to do where that is known.
    package static func system(_ call: String, path: String? = nil, number: Int32 = errno) -> VMSyncError {
        let subject = path.map { "\(call) \($0)" } ?? call
        let message = "\(subject): \(String(cString: strerror(number)))"
        switch number {
        case ENOSPC, EDQUOT:
            return VMSyncError(.noSpace, message, hint: "free some space there, then try again")
        case ENOENT:
            return VMSyncError(.notFound, message)
        default:
            return VMSyncError(.io, message)
        }
    }
}
