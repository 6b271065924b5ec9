import Dispatch
import Foundation
import Synchronization
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A base image on its way: chunks of a raw image, put into a sparse file in any order, while a VM may be based on it.
/// (docs/protocol/catch-up.md, "Before the base image is all here")
///
/// The file is `PATH.part` until it is whole. Beside it `PATH.chunks` lists the chunks that are there. The list begins with
/// the boot of the host: chunks aren't written out one by one, so after another boot it says nothing.
package final class ArrivingImage: Sendable {
    private struct State {
        /// Chunks that aren't here.
        var missing: Set<Int>
        /// Those of them that are being fetched.
        var fetching: Set<Int> = []
        /// Those that something waits for, the oldest wait first; some may have come since.
        var wanted: [Int] = []
        /// Where in `chunks` the next one is looked for that nothing waits for.
        var next = 0
        var waits: [DispatchSemaphore] = []
        var listeners: [@Sendable () -> Void] = []
    }

    /// In bytes.
    package let size: UInt64
    package let chunkLength: Int
    /// Every chunk that isn't a hole of the image, in order.
    private let chunks: [Int]
    private let path: String
    let file: DiskFile
    private let list: DiskFile
    private let state: Mutex<State>
    private let arrivedWhole: Atomic<Bool>

    /// Goes on where an earlier process of this boot ended.
    /// - Parameters:
    ///   - path: of the image when it is whole.
    ///   - chunks: those that aren't holes, by their number; each `chunkLength` bytes long, the last of the image perhaps shorter.
    ///   - bootID: `OverlayDisk.currentBootID()`.
    package init(
        path: String, size: UInt64, chunkLength: Int, chunks: [Int], bootID: String
    ) throws(VMSyncError) {
        (self.path, self.size, self.chunkLength) = (path, size, chunkLength)
        self.chunks = Array(Set(chunks)).sorted()
        file = try DiskFile(path + ".part", O_RDWR | O_CREAT)
        try file.truncate(to: size)
        var text = (try? String(contentsOfFile: path + ".chunks", encoding: .utf8)) ?? ""
        if !text.hasPrefix(bootID + "\n") {
            text = bootID + "\n"
            try AtomicFile.write(bytes: Array(text.utf8), to: path + ".chunks")
        }
        // A line that was cut off by a crash has no newline behind it and doesn't count.
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        let missing = Set(self.chunks).subtracting(lines.compactMap { Int($0) })
        state = Mutex(State(missing: missing))
        arrivedWhole = Atomic(missing.isEmpty)
        list = try DiskFile(path + ".chunks", O_WRONLY | O_APPEND)
    }

    /// Whether every byte is here.
    package var isWhole: Bool { arrivedWhole.load(ordering: .acquiring) }

    /// About how many bytes are missing.
    package var missingBytes: UInt64 { UInt64(state.withLock { $0.missing.count }) * UInt64(chunkLength) }

    /// Of all that isn't a hole.
    package var bytes: UInt64 { UInt64(chunks.count) * UInt64(chunkLength) }

    /// About how many bytes something waits for.
    package var awaitedBytes: UInt64 {
        let chunks = state.withLock { state in state.wanted.count { state.missing.contains($0) } }
        return UInt64(chunks) * UInt64(chunkLength)
    }

    // MARK: For who fetches

    /// The chunk that should be fetched next, and whether something waits for it; nil if there is none that nobody fetches.
    /// It must be `put` or given back.
    package func take(awaitedOnly: Bool = false) -> (chunk: Int, isAwaited: Bool)? {
        state.withLock { state in
            state.wanted.removeAll { !state.missing.contains($0) }
            if let chunk = state.wanted.first(where: { !state.fetching.contains($0) }) {
                state.fetching.insert(chunk)
                return (chunk, true)
            }
            if awaitedOnly { return nil }
            while state.next < chunks.count {
                let chunk = chunks[state.next]
                state.next += 1
                guard state.missing.contains(chunk), state.fetching.insert(chunk).inserted else { continue }
                return (chunk, false)
            }
            return nil
        }
    }

    /// It couldn't be fetched.
    package func giveBack(_ chunk: Int) {
        state.withLock { state in
            state.fetching.remove(chunk)
            state.next = 0
        }
    }

    /// Bytes of chunk `index`.
    package func length(of chunk: Int) -> Int {
        Int(min(UInt64(chunkLength), size - UInt64(chunk) * UInt64(chunkLength)))
    }

    /// Puts chunk `chunk` in its place. Blocking: for a thread pool.
    /// - Throws: `corrupt` if it isn't as long as it must be; `noSpace`, `io`.
    package func put(_ bytes: UnsafeRawBufferPointer, at chunk: Int) throws(VMSyncError) {
        guard bytes.count == length(of: chunk) else {
            throw VMSyncError(.corrupt, "chunk \(chunk) of \(path) has \(bytes.count) bytes")
        }
        try file.write(bytes, at: UInt64(chunk) * UInt64(chunkLength))
        try FileBytes.write(Array("\(chunk)\n".utf8), to: list.descriptor, path: list.path)
        let isLast = state.withLock { state in
            state.missing.remove(chunk)
            state.fetching.remove(chunk)
            state.waits.forEach { $0.signal() }
            state.waits = []
            return state.missing.isEmpty
        }
        if isLast { arrivedWhole.store(true, ordering: .releasing) }
    }

    /// Has `body` called each time that something begins to wait.
    package func onDemand(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.listeners.append(body) } }

    /// Makes the whole image durable, under its name. Blocking: for a thread pool.
    package func complete() throws(VMSyncError) {
        try file.sync()
        // Another one that waited for it may have been faster.
        guard rename(path + ".part", path) == 0 || access(path, R_OK) == 0 else { throw .system("rename", path: path) }
        AtomicFile.remove(path + ".chunks")
    }

    // MARK: For who reads

    /// Puts what isn't here of the range before all that nothing waits for.
    package func want(_ range: Range<UInt64>) {
        if isWhole { return }
        let listeners = state.withLock { state in
            let new = chunks(touching: range).filter { state.missing.contains($0) && !state.wanted.contains($0) }
            state.wanted += new
            return new.isEmpty ? [] : state.listeners
        }
        for tell in listeners { tell() }
    }

    package func has(_ range: Range<UInt64>) -> Bool {
        isWhole || state.withLock { state in !chunks(touching: range).contains { state.missing.contains($0) } }
    }

    /// Returns when all of the range is here. Blocks for as long as that takes.
    /// - Parameter isAbandoned: asked after each change and each `wake`: nobody waits for it any more.
    /// - Throws: `cancelled` if so.
    func require(_ range: Range<UInt64>, isAbandoned: () -> Bool) throws(VMSyncError) {
        if isWhole { return }
        want(range)
        while true {
            guard !isAbandoned() else { throw VMSyncError(.cancelled, "nobody waits for this read any more") }
            let wait: DispatchSemaphore? = state.withLock { state in
                guard chunks(touching: range).contains(where: { state.missing.contains($0) }) else { return nil }
                let wait = DispatchSemaphore(value: 0)
                state.waits.append(wait)
                return wait
            }
            guard let wait else { return }
            wait.wait()
        }
    }

    /// Has everything that waits look whether it still should.
    func wake() {
        state.withLock { state in
            state.waits.forEach { $0.signal() }
            state.waits = []
        }
    }

    /// The first byte from `offset` on that isn't in a hole; nil if there is none.
    func nextData(from offset: UInt64) -> UInt64? {
        let position = firstPosition(of: Int(offset / UInt64(chunkLength)))
        return position < chunks.count ? max(offset, UInt64(chunks[position]) * UInt64(chunkLength)) : nil
    }

    /// The end of what isn't a hole, from `offset` on, which lies in none.
    func nextHole(from offset: UInt64) -> UInt64 {
        var chunk = Int(offset / UInt64(chunkLength))
        for position in firstPosition(of: chunk)..<chunks.count where chunks[position] == chunk { chunk += 1 }
        return min(UInt64(chunk) * UInt64(chunkLength), size)
    }

    /// Chunks that aren't holes. Behind the end of the image there are none, and zeros.
    private func chunks(touching range: Range<UInt64>) -> ArraySlice<Int> {
        let upper = min(range.upperBound, size)
        guard range.lowerBound < upper else { return [] }
        let first = firstPosition(of: Int(range.lowerBound / UInt64(chunkLength)))
        let end = firstPosition(of: Int((upper - 1) / UInt64(chunkLength)) + 1)
        return chunks[first..<end]
    }

    /// Of the first of `chunks` that is `chunk` or comes behind it.
    private func firstPosition(of chunk: Int) -> Int {
        var (low, high) = (0, chunks.count)
        while low < high {
            let middle = (low + high) / 2
            if chunks[middle] < chunk { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
