import Foundation
import NIOCore
import NIOPosix
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncSecrets

/// Images from the server: whole, before anything is based on them, or while something is already.
extension ImageStore {
    /// Asked before each chunk: what it throws says why it isn't to be fetched now. `isAwaited`: something waits for it.
    typealias Check = @Sendable (_ isAwaited: Bool) throws -> Void

    typealias Failed = @Sendable (_ error: VMSyncError?, _ isAwaited: Bool) -> Void

    /// Between attempts to fetch what can't be had, or mayn't.
    private static let rest = Duration.seconds(1)

    /// Fetches an image that isn't here; goes on where an earlier fetch broke off.
    /// - Parameter check: what it throws ends the fetch.
    func fetch(_ image: ImageReference, check: @escaping Check, progress: @escaping ProgressHandler) async throws {
        guard !has(image), let arrival = try await begin(image) else { return }
        try checkSpace(for: arrival.image.missingBytes)
        let meter = ProgressMeter(
            "fetching the base image", total: arrival.image.missingBytes, handler: progress)
        repeat {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<Self.transfersMax {
                    group.addTask {
                        while let (chunk, isAwaited) = arrival.image.take() {
                            try await fetch(chunk, of: arrival) { try check(isAwaited) }
                            meter.add(ImageManifest.chunkLength)
                        }
                    }
                }
                try await group.waitForAll()
            }
            // The rest is being fetched for another VM.
            if !arrival.image.isWhole { try await Task.sleep(for: Self.rest) }
        } while !arrival.image.isWhole
        try await complete(arrival)
    }

    // MARK: With something based on it

    /// The arrival of `image`, if it was begun, by an earlier daemon perhaps, for a VM to be based on.
    func begun(_ image: ImageReference) throws -> ImageArrival? {
        guard !has(image) else {
            AtomicFile.remove(listPath(image))
            return nil
        }
        guard let data = FileManager.default.contents(atPath: listPath(image)) else { return nil }
        guard let manifest = try? ImageManifest(data, reference: image) else {
            // It comes from the server again.
            AtomicFile.remove(listPath(image))
            return nil
        }
        return try arrivals.add(image, manifest, path: path(image))
    }

    /// Lets VMs be based on an image that isn't here, or not all of it.
    func letBase(on image: ImageReference) async throws {
        guard try !has(image) && begun(image) == nil else { return }
        let manifest = try await manifest(of: image)
        try AtomicFile.write(manifest, to: listPath(image), durable: true)
        _ = try begun(image)
    }

    /// Fetches what is missing, what is waited for before all else, until the image is whole and has its name, or the task
    /// is cancelled.
    /// - Parameter failed: told of each failure, and of nil when it went on; and whether that was of something that is waited for.
    func bring(_ arrival: ImageArrival, check: @escaping Check, failed: @escaping Failed) async {
        await withTaskGroup(of: Void.self) { group in
            for lane in 0..<Self.transfersMax {
                // A chunk on a slow link takes seconds: one lane for what nothing waits for leaves room on it.
                group.addTask { await bring(arrival, awaitedOnly: lane > 0, check, failed) }
            }
        }
        while !Task.isCancelled, !has(arrival.reference) {
            do {
                try await complete(arrival)
            } catch {
                failed(VMSyncError(error), false)
                try? await Task.sleep(for: Self.rest)
            }
        }
    }

    private func bring(
        _ arrival: ImageArrival, awaitedOnly: Bool, _ check: @escaping Check, _ failed: @escaping Failed
    ) async {
        let wake = WakeSignal()
        arrival.image.onDemand { wake.signal() }
        while !Task.isCancelled, !arrival.image.isWhole {
            var mayTakeAny = !awaitedOnly
            if mayTakeAny {
                do { try check(false) } catch {
                    failed(VMSyncError(error), false)
                    mayTakeAny = false
                }
            }
            guard let (chunk, isAwaited) = arrival.image.take(awaitedOnly: !mayTakeAny) else {
                await wake.wait(until: .now + Self.rest)
                continue
            }
            do {
                try await fetch(chunk, of: arrival) { try check(isAwaited) }
                failed(nil, isAwaited)
            } catch {
                failed(VMSyncError(error), isAwaited)
                // Whoever asks for more doesn't shorten it: what fails would be fetched again and again.
                try? await Task.sleep(for: Self.rest)
            }
        }
    }

    // MARK: Parts

    private func listPath(_ image: ImageReference) -> String { path(image) + ".list" }

    private func begin(_ image: ImageReference) async throws -> ImageArrival? {
        if let known = try arrivals.find(image) ?? begun(image) { return known }
        return try arrivals.add(image, try await manifest(of: image), path: path(image))
    }

    private func manifest(of image: ImageReference) async throws -> ImageManifest {
        try ImageManifest(Data(try await bytes(image.manifest, image.key)), reference: image)
    }

    /// Fetches one chunk that was taken.
    private func fetch(_ chunk: Int, of arrival: ImageArrival, check: () throws -> Void) async throws {
        do {
            try check()
            guard let hash = arrival.hashes[chunk] else { throw VMSyncError(.bug, "no chunk \(chunk) in the list") }
            let frame = try await bytes(hash, arrival.reference.key)
            try await NIOThreadPool.singleton.runIfActive {
                var raw = [UInt8](repeating: 0, count: arrival.image.length(of: chunk))
                try raw.withMutableRawBytes { raw throws(VMSyncError) in
                    try frame.withRawBytes { frame throws(VMSyncError) in
                        try ZstdDecompressor().decompress(frame, into: raw)
                    }
                    try arrival.image.put(UnsafeRawBufferPointer(raw), at: chunk)
                }
            }
        } catch {
            arrival.image.giveBack(chunk)
            throw error
        }
    }

    private func complete(_ arrival: ImageArrival) async throws {
        try await NIOThreadPool.singleton.runIfActive { try arrival.image.complete() }
        AtomicFile.remove(listPath(arrival.reference))
        arrivals.remove(arrival.reference)
    }

    private func bytes(_ hash: ContentHash, _ key: SubjectKey) async throws -> [UInt8] {
        try Array(buffer: try await client.chunk(hash)).withRawBytes { bytes throws(VMSyncError) in
            try StreamDecryptor.open(bytes, with: key, .chunk)
        }
    }
}
