import Foundation
import Logging
import NIOPosix
import Synchronization
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica

/// What the policy of a VM says of its base images, for tasks that can't wait for the host's thread.
struct BaseRule: Sendable {
    var policy: SyncPolicy
    var forecast: SwitchForecast
    /// Whether a person waits for the VM.
    var isAwaited: Bool
}

/// The base images of a VM that are still on their way, though it is based on them.
struct BaseArrivals: Sendable {
    /// By the number of their disk.
    var images: [Int: ArrivingImage] = [:]
    /// Those that fetch them.
    var tasks: [Task<Void, Never>] = []
    /// What the last attempt failed of to fetch a part that nothing waits for; and one that something waits for.
    var problem: VMSyncError?
    var awaitedProblem: VMSyncError?

    /// Bytes that something waits for, of this VM or another one.
    var awaited: UInt64 { images.values.reduce(0) { $0 + $1.awaitedBytes } }

    /// Nil if nothing is missing.
    var standing: BaseStanding? {
        guard images.values.contains(where: { !$0.isWhole }) else { return nil }
        return BaseStanding(
            missing: images.values.reduce(0) { $0 + $1.missingBytes }, size: images.values.reduce(0) { $0 + $1.bytes },
            isAwaited: awaited > 0, problem: (awaitedProblem ?? problem).map(Reason.init))
    }
}

/// Base images: fetched before anything is based on them, or, with `start-early`, afterwards. (docs/protocol/catch-up.md)
extension VMHost {
    /// Threads that serve a disk whose base image isn't all here, as many as QEMU sends requests at once: each may wait for a part.
    private static let patientThreads = 16
    /// How long a pause is put off for a read of the guest that waits for its base image.
    private static let readPatience = Duration.seconds(10)
    /// How long a part is waited for that doesn't come.
    private static let partPatience = Duration.seconds(30)
    /// Between looks whether that is here.
    private static let readLook = Duration.milliseconds(20)

    /// A person doesn't want to wait for the whole image any more.
    private struct MayComeLater: Error {}

    func fetchBase() async throws {
        defer { progress.withLock { $0 = nil } }
        // What the VM can't be begun without comes first.
        for image in [description.kernel, description.initrd] { if let image { try await fetch(image) {} } }
        let mayComeLater = !isMirror
        for image in description.disks {
            do {
                try await fetch(image) { [self] in
                    if mayComeLater, baseRule.withLock({ $0.policy.startsEarly }) { throw MayComeLater() }
                }
            } catch is MayComeLater {
                try await environment.images.letBase(on: image)
            }
        }
        try await open()
    }

    /// - Parameter check: asked before each part, besides the policy.
    private func fetch(_ image: ImageReference, check: @escaping @Sendable () throws -> Void) async throws {
        try await environment.images.fetch(image) { [self] in
            try check()
            try checkBase(isAwaited: $0 || baseRule.withLock { $0.isAwaited })
        } progress: { [self] step in
            progress.withLock { $0 = step }
        }
    }

    /// What the policy says of the base images now, for tasks that are under way.
    package func noteBaseRule() {
        let rule = BaseRule(policy: effectivePolicy.policy, forecast: sync.forecast, isAwaited: isAwaited)
        baseRule.withLock { $0 = rule }
    }

    /// Whether the VM can be based on what is here.
    var hasBaseEnough: Bool {
        get throws {
            let images = environment.images
            return try description.images.allSatisfy { image in
                if images.has(image) { return true }
                // Begun for another VM it is no reason to be based on it.
                guard description.disks.contains(image), wantsEarlyStart || isBasedAlready else { return false }
                return try images.begun(image) != nil
            }
        }
    }

    private var wantsEarlyStart: Bool { effectivePolicy.policy.startsEarly && !isMirror }

    /// Whether there is a replica here, which may be one on a base image that is still on its way.
    private var isBasedAlready: Bool { access(paths.record, F_OK) == 0 }

    /// Why a part of a base image isn't fetched now, thrown.
    private nonisolated func checkBase(isAwaited: Bool) throws {
        let rule = baseRule.withLock { $0 }
        let reason = SyncDecision.reasonAgainstBase(
            rule.policy, environment.conditions.signals(rule.forecast), part: UInt64(APILimits.chunkBytesMax),
            isAwaited: isAwaited)
        guard let reason else { return }
        throw VMSyncError(
            .wrongState, "the base image of \(name) is not all here yet: \(reason.words)",
            hint: "vmsync policy show \(name) --effective")
    }

    /// The same for what comes while the VM is based on it already: somebody who waits for the VM waits for its packs.
    private nonisolated func checkRest(isAwaited: Bool) throws {
        guard isAwaited || !baseRule.withLock({ $0.isAwaited }) else {
            throw VMSyncError(.wrongState, "the rest of the base image comes after what is waited for")
        }
        try checkBase(isAwaited: isAwaited)
    }

    /// Begins to fetch what is missing of the base images that were begun.
    /// - Returns: these, by the number of their disk.
    func bringBases() throws -> [Int: ArrivingImage] {
        let known = arrivals.withLock { $0.images }
        for (disk, reference) in description.disks.enumerated() where known[disk] == nil {
            if let arrival = try environment.images.begun(reference) { bring(arrival, for: disk) }
        }
        let arriving = arrivals.withLock { $0.images }
        if !arriving.isEmpty, patientReads == nil {
            let pool = NIOThreadPool(numberOfThreads: Self.patientThreads * description.disks.count)
            pool.start()
            patientReads = pool
        }
        return arriving
    }

    /// Not on the host's thread: what it does there may wait for a part.
    private func bring(_ arrival: ImageArrival, for disk: Int) {
        let images = environment.images
        let path = images.path(arrival.reference)
        let task = Task.detached { [self] in
            await images.bring(arrival) { [self] in
                try checkRest(isAwaited: $0)
            } failed: { [self] problem, isAwaited in
                arrivals.withLock { if isAwaited { $0.awaitedProblem = problem } else { $0.problem = problem } }
            }
            guard !Task.isCancelled else { return }
            // It reads the whole image.
            let size = description.machine.disks[disk].size
            try? await LongWork.pool.runIfActive { _ = try BaseIndex(base: path, diskSize: size) }
            await baseIsWhole(path, of: disk)
        }
        arrivals.withLock {
            $0.images[disk] = arrival.image
            $0.tasks.append(task)
        }
    }

    private func baseIsWhole(_ path: String, of disk: Int) {
        logger.notice("the base image of disk \(disk) is all here")
        replica?.index(path, of: disk)
        publish()
        wake.signal()
    }

    /// What the pack of checkpoint `sequence` takes from base images, before it is applied.
    func bringBase(for sequence: Sequence, _ replica: Replica) async throws {
        guard arrivals.withLock({ $0.standing != nil }) else { return }
        try await bringBase(until: { try replica.wantBase(for: sequence) })
    }

    /// Waits until `isHere`, which has the parts that it needs fetched soon; the host's thread doesn't wait with it.
    /// - Throws: `unavailable` if nothing has come for a while; what is wanted comes all the same.
    func bringBase(until isHere: () throws -> Bool) async throws {
        while try !isHere() {
            let (start, total) = (ContinuousClock.now, arrivals.withLock { $0.awaited })
            var (left, lastArrival) = (total, start)
            while left > 0 {
                let rate = Double(total - min(left, total)) / (.now - start).seconds
                progress.withLock {
                    $0 = StepProgress(
                        step: "fetching parts of the base image", done: total - min(left, total), total: total,
                        bytesPerSecond: rate, secondsLeft: rate > 0 ? Double(left) / rate : nil)
                }
                guard .now - lastArrival < Self.partPatience else { throw baseProblem }
                try await Task.sleep(for: Self.readLook)
                let now = arrivals.withLock { $0.awaited }
                if now < left { lastArrival = .now }
                left = now
            }
        }
    }

    private var baseProblem: VMSyncError {
        arrivals.withLock { $0.awaitedProblem }
            ?? VMSyncError(
                .unavailable, "a part of the base image of \(name) isn't here, and doesn't come",
                hint: "connect this device to the server")
    }

    /// QEMU's pause waits for reads that are under way, with the guest standing still.
    /// - Throws: what keeps the part that the guest waits for from coming.
    func awaitBaseReads() async throws {
        let deadline = ContinuousClock.now + Self.readPatience
        while exported.contains(where: \.isAwaited) {
            if .now >= deadline {
                // It comes, if slowly.
                if serverAnswers, arrivals.withLock({ $0.awaitedProblem }) == nil { return }
                throw baseProblem
            }
            try await Task.sleep(for: Self.readLook)
        }
    }
}
