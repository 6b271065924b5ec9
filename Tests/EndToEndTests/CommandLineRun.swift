import Foundation
import Subprocess
import VMSyncStudy

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// How a program ended and what it said.
struct Outcome: Sendable {
    /// The exit code; minus the number of the signal that ended it.
    let code: Int32
    let output: String
    let errors: String

    /// What it printed, which must be JSON.
    func json() throws -> Any { try JSONSerialization.jsonObject(with: Data(output.utf8), options: .fragmentsAllowed) }
}

/// Runs `program` to its end.
func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:]
) async throws -> Outcome {
    let variables = Dictionary(
        uniqueKeysWithValues: environment.compactMap { name, value in
            Environment.Key(rawValue: name).map { ($0, value as String?) }
        })
    let result = try await Subprocess.run(
        .path(FilePath(program)), arguments: Arguments(arguments), environment: .inherit.updating(variables),
        output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
    let code: Int32
    switch result.terminationStatus {
    case .exited(let status): code = Int32(status)
    case .signaled(let signal): code = -Int32(signal)
    }
    return Outcome(code: code, output: result.standardOutput, errors: result.standardError)
}

extension Trial {
    /// Runs `vmsync` as the user of `device`.
    nonisolated func vmsync(_ device: String, _ arguments: String...) async throws -> Outcome {
        try await vmsync(device, arguments)
    }

    nonisolated func vmsync(_ device: String, _ arguments: [String]) async throws -> Outcome {
        try await run(program, arguments + ["--state", folders(device).state])
    }
}
