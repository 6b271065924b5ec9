import Foundation
import NIOPosix
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// Whether a VM's history is whole, and what to do if it isn't. (docs/protocol/history.md, "Damage")
extension Daemon {
    nonisolated func check(
        _ host: VMHost, readsData: Bool, progress: @escaping ProgressHandler
    ) async throws -> CheckReport {
        let outline = try await host.reader.outline()
        var report = CheckReport(checkpoints: outline.listed.count)
        report.problems = outline.unreachable.map { "no route leads to checkpoint \($0)" }
        if let problem = try await problemOfChain(host, outline) { report.problems.append(problem) }
        let needed = outline.routesToAll
        let packs = outline.packs.filter { needed.contains($0.id) }
        report.packs = packs.count
        report.bytes = packs.reduce(0) { $0 + $1.size }
        let folder = "\(folders.forks)/\(Identifier.random())"
        defer { AtomicFile.remove(folder) }
        try await NIOThreadPool.singleton.runIfActive { try AtomicFile.makeFolder(folder) }
        var done: UInt64 = 0
        for pack in packs {
            progress(StepProgress(step: "checking \(packs.count) packs", done: done, total: report.bytes))
            do {
                if readsData {
                    try await host.reader.tryOut(pack, in: folder)
                } else {
                    _ = try await host.reader.reference(pack.id)
                }
            } catch let error as VMSyncError where Self.damages.contains(error.code) {
                report.damaged.append(pack.id)
                report.problems.append("pack \(pack.id): \(error.message)")
            }
            done += pack.size
        }
        report.plan = outline.repairPlan(damaged: Set(report.damaged))
        return report
    }

    /// What is wrong with a pack, and not with the way to it.
    private static let damages: Set<VMSyncError.Code> = [.corrupt, .notFound, .io, .bug]

    private nonisolated func problemOfChain(_ host: VMHost, _ outline: HistoryOutline) async throws -> String? {
        guard let head = outline.head else { return nil }
        do {
            _ = try await host.reader.following(await host.beginningOfChain, to: head.sequence)
            return nil
        } catch let error as VMSyncError where error.code == .corrupt {
            return error.message
        }
    }

    /// Does what a check has found to be done.
    /// - Throws: `corrupt` if nothing can be done, because the head is damaged.
    nonisolated func repair(_ host: VMHost, progress: @escaping ProgressHandler) async throws -> CheckReport {
        let report = try await check(host, readsData: true, progress: progress)
        guard let plan = report.plan, !plan.packs.isEmpty else { return report }
        guard !plan.losesHead else {
            throw VMSyncError(
                .corrupt, "the newest checkpoint of \(host.name) can't be read from the server, so nothing was removed",
                hint: "vmsync start \(host.name), on a device that is up to date")
        }
        for sequence in plan.lost { try await client.setTag(nil, of: sequence, of: host.id) }
        if !plan.lost.isEmpty { _ = try await client.forget(plan.lost, of: host.id, isTrial: false) }
        for pack in plan.packs { try await client.removePack(pack, of: host.id) }
        return report
    }
}
