#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

extension Array where Element == UInt8 {
    /// `withUnsafeBytes` that keeps the type of what its body throws; the standard library's widens it to `any Error`.
    @inlinable
    package func withRawBytes<Result, Failure>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withUnsafeBufferPointer { buffer throws(Failure) in try body(UnsafeRawBufferPointer(buffer)) }
    }

    /// `withUnsafeMutableBytes` that keeps the type of what its body throws.
    @inlinable
    package mutating func withMutableRawBytes<Result, Failure>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withUnsafeMutableBufferPointer { buffer throws(Failure) in try body(UnsafeMutableRawBufferPointer(buffer)) }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether both hold the same bytes.
    @inlinable
    package func holdsSame(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let mine = baseAddress, let theirs = other.baseAddress else { return true }
        return memcmp(mine, theirs, count) == 0
    }
}
