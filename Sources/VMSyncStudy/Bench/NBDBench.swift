import Foundation
import VMSyncCore
import VMSyncMachine

/// How fast the disks are: our export beside other NBD servers, each under the same clients on the same file system.
///
/// The servers are up all the time and take turns within each round, so that what else the host does meets all of them.
/// Each begins with a disk of which every block was written once: reads meet content, writes find their storage
/// allocated, and all of it is in the page cache.
package struct NBDBench: Sendable {
    /// Measurements per server and workload.
    package var rounds = 9
    /// How long one of them takes.
    package var secondsPerRun = 2
    /// Of each disk, in bytes; there are four, and all should fit into memory together.
    package var diskBytes = 512 << 20
    /// Where the disks are made, in a folder that is gone afterwards.
    package var folder = NSTemporaryDirectory()
    /// Called with what is being done.
    let say: @Sendable (String) -> Void

    package init(say: @escaping @Sendable (String) -> Void) { self.say = say }

    package func run() async throws -> NBDBenchReport {
        // Short, because a unix socket's path has 107 bytes at most.
        let place = "\(folder)/vmsync-nbd-\(Identifier.random().prefix(8))".replacing("//", with: "/")
        try AtomicFile.makeFolder(place)
        let result: Result<NBDBenchReport, any Error>
        do { result = .success(try await run(in: place)) } catch { result = .failure(error) }
        AtomicFile.remove(place)
        return try result.get()
    }

    private func run(in place: String) async throws -> NBDBenchReport {
        var servers: [NBDBenchServer] = []
        let result: Result<NBDBenchReport, any Error>
        do {
            for kind in NBDBenchServer.Kind.allCases {
                servers.append(try await NBDBenchServer(kind, folder: place, diskBytes: diskBytes))
            }
            result = .success(try await measure(servers, in: place))
        } catch {
            result = .failure(error)
        }
        for server in servers { await server.end() }
        return try result.get()
    }

    private func measure(_ servers: [NBDBenchServer], in place: String) async throws -> NBDBenchReport {
        for server in servers {
            say("filling the disk of \(server.kind.rawValue)")
            try await NBDLoad.fill(server.uri, bytes: diskBytes)
        }
        var report = NBDBenchReport(bench: self)
        for round in 0..<rounds {
            for load in NBDLoad.allCases {
                say("round \(round + 1) of \(rounds): \(load.rawValue)")
                // Who is first changes from round to round.
                for turn in servers.indices {
                    let server = servers[(turn + round) % servers.count]
                    // What the one before has left to be written back is not to slow this one down.
                    try await QEMUTool.run("sync", ["-f", place], package: "coreutils")
                    let speed = try await load.speed(
                        of: server.uri, bytes: diskBytes, seconds: secondsPerRun, seed: round)
                    report.add(speed, of: server.kind, under: load)
                }
            }
        }
        return report
    }
}
