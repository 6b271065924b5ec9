import Subprocess
import VMSyncCore

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// Runs a program of the QEMU family and turns its failure into words.
package enum QEMUTool {
    /// What a program may print before it is cut off.
    private static let outputLimit = 1 << 20

    /// - Parameter environment: variables to add.
    /// - Returns: what it printed.
    /// - Throws: `machine` with its own words; with the package to install if the program isn't there.
    @discardableResult
    package static func run(
        _ program: String, _ arguments: [String], environment: [String: String?] = [:], package: String
    ) async throws -> String {
        let result: ExecutionResult<Void, StringOutput<Unicode.UTF8>, StringOutput<Unicode.UTF8>>
        let variables = Dictionary(
            uniqueKeysWithValues: environment.compactMap { name, value in
                Environment.Key(rawValue: name).map { ($0, value) }
            })
        do {
            result = try await Subprocess.run(
                // Only a bare name is looked up in PATH.
                program.contains("/") ? .path(FilePath(program)) : .name(program), arguments: Arguments(arguments),
                environment: .inherit.updating(variables),
                output: .string(limit: outputLimit), error: .string(limit: outputLimit))
        } catch let error as SubprocessError where error.code == .executableNotFound {
            throw VMSyncError(.machine, "\(program) is not installed", hint: "sudo apt-get install \(package)")
        }
        guard result.terminationStatus.isSuccess else {
            let words = result.standardError.split(separator: "\n").suffix(3).joined(separator: "; ")
            throw VMSyncError(.machine, "\(program) failed (\(result.terminationStatus)): \(words)")
        }
        return result.standardOutput
    }
}
