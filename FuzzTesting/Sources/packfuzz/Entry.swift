import VMSyncPackFuzzing

/// libFuzzer runs one thread.
nonisolated(unsafe) private let fuzzer = PackFuzzer(dearTries: 8)

/// What libFuzzer calls with each input; the name is its own.
@_cdecl("LLVMFuzzerTestOneInput")
package func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: bytes, count: count))
    if case .wrong(let complaint) = fuzzer.verdict(on: input) { fatalError(complaint) }
    return 0
}
