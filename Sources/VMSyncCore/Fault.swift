import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Faults that tests inject by name: `VMSYNC_FAULT=after-pack-durable:kill` in the environment of a process.
///
/// Without the variable a point costs one comparison with nil. The actions:
/// - `kill`: the process kills itself with SIGKILL there, as a crash would;
/// - `fail`: the point throws;
/// - any other text: a value for the point that asks for one, such as a version to report.
///
/// `NAME@N:ACTION` acts at the N-th passage instead of the first. Several faults are separated by commas.
package enum Fault {
    private static let planted = Planted(environment: getenv("VMSYNC_FAULT").map { String(cString: $0) })

    /// Acts if a fault is planted at `name`.
    /// - Throws: `io` for the action `fail`.
    package static func point(_ name: String) throws(VMSyncError) {
        guard let action = planted?.action(at: name) else { return }
        switch action {
        case "kill": kill(getpid(), SIGKILL)
        case "fail": throw VMSyncError(.io, "planted fault at \(name)")
        default: break
        }
    }

    /// The text planted at `name`, for points that take a value.
    package static func value(_ name: String) -> String? { planted?.value(at: name) }
}

/// What one environment variable plants, and how often each point was passed.
struct Planted: ~Copyable {
    private struct Plant {
        let passage: Int
        let action: String
    }
    private let plants: [String: Plant]
    private let passages = Mutex<[String: Int]>([:])

    init?(environment: String?) {
        guard let environment, !environment.isEmpty else { return nil }
        var plants: [String: Plant] = [:]
        for entry in environment.split(separator: ",") {
            let halves = entry.split(separator: ":", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let place = halves[0].split(separator: "@", maxSplits: 1)
            let passage = place.count == 2 ? Int(place[1]) ?? 1 : 1
            plants[String(place[0])] = Plant(passage: passage, action: String(halves[1]))
        }
        self.plants = plants
    }

    /// The action at `name`, at the one passage that it is planted for.
    func action(at name: String) -> String? {
        guard let plant = plants[name] else { return nil }
        let passage = passages.withLock { counts in
            counts[name, default: 0] += 1
            return counts[name]
        }
        return passage == plant.passage ? plant.action : nil
    }

    /// The text planted at `name`, at every passage.
    func value(at name: String) -> String? { plants[name]?.action }
}
