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
        /// Why the file can't be made durable any more.
        var failure: VMSyncError?

        mutating func wakeAll() {
            for wait in waits { wait.signal() }
            waits = []
        }
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
    /// That nothing is missing, for reads that need no lock from then on.
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
        // A list that an earlier image has left says nothing of a new file.
        let isNew = access(path + ".part", F_OK) != 0
        file = try DiskFile(path + ".part", O_RDWR | O_CREAT)
        try file.truncate(to: size)
        let known = isNew ? [] : Self.listed(path + ".chunks", bootID)
        // Anew, because a crash may have cut off its last line, and the next one would become a part of it.
        let lines = [bootID] + known.map(String.init)
        try AtomicFile.write(bytes: Array((lines.joined(separator: "\n") + "\n").utf8), to: path + ".chunks")
        let missing = Set(self.chunks).subtracting(known)
        state = Mutex(State(missing: missing))
        arrivedWhole = Atomic(missing.isEmpty)
        list = try DiskFile(path + ".chunks", O_WRONLY | O_APPEND)
    }

    /// The chunks that a list of this boot names. A line without a newline behind it doesn't count.
    private static func listed(_ path: String, _ bootID: String) -> [Int] {
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        return lines.first.map(String.init) == bootID ? lines.dropFirst().compactMap { Int($0) } : []
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
            if awaitedOnly || state.missing.count == state.fetching.count { return nil }
            // Once around: what couldn't be fetched comes again behind all others.
            for _ in chunks {
                let chunk = chunks[state.next]
                state.next = (state.next + 1) % chunks.count
                guard state.missing.contains(chunk), state.fetching.insert(chunk).inserted else { continue }
                return (chunk, false)
            }
            return nil
        }
    }

    /// It couldn't be fetched.
    package func giveBack(_ chunk: Int) { state.withLock { _ = $0.fetching.remove(chunk) } }

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
            state.wakeAll()
            return state.missing.isEmpty
        }
        if isLast { arrivedWhole.store(true, ordering: .releasing) }
    }

    /// Has `body` called each time that something begins to wait.
    package func onDemand(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.listeners.append(body) } }

    /// Makes the whole image durable, under its name. Blocking: for a thread pool.
    package func complete() throws(VMSyncError) {
        if let failure = state.withLock({ $0.failure }) { throw failure }
        do {
            try file.sync()
        } catch {
            // The kernel may have dropped what it couldn't write, and the next sync would succeed: the next process fetches all again.
            state.withLock { $0.failure = error }
            AtomicFile.remove(path + ".chunks")
            throw error
        }
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
    /// - Parameter isAbandoned: asked before each wait, under the lock that `wake` takes: whether nobody waits for it any more.
    /// - Throws: `cancelled` if so.
    func require(_ range: Range<UInt64>, isAbandoned: () -> Bool) throws(VMSyncError) {
        if isWhole { return }
        want(range)
        enum Look { case here, abandoned, wait(DispatchSemaphore) }
        while true {
            let look: Look = state.withLock { state in
                guard chunks(touching: range).contains(where: { state.missing.contains($0) }) else { return .here }
                if isAbandoned() { return .abandoned }
                let wait = DispatchSemaphore(value: 0)
                state.waits.append(wait)
                return .wait(wait)
            }
            switch look {
            case .here: return
            case .abandoned: throw VMSyncError(.cancelled, "nobody waits for this read any more")
            case .wait(let wait): wait.wait()
            }
        }
    }

    /// Has everything that waits look whether it still should.
    func wake() { state.withLock { $0.wakeAll() } }

    /// The first byte from `offset` on that isn't in a hole; nil if there is none.
    func nextData(from offset: UInt64) -> UInt64? {
        let position = firstPosition(of: Int(offset / UInt64(chunkLength)))
        guard offset < size, position < chunks.count else { return nil }
        return max(offset, UInt64(chunks[position]) * UInt64(chunkLength))
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
