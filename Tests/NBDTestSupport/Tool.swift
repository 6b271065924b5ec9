import Subprocess

/// Programs that we did not write, as clients of what we did.
package enum Tool: String {
    case nbdinfo
    case nbdcopy
    case qemuImg = "qemu-img"
    case qemuIO = "qemu-io"
    case fio
    case cmp

    /// The Debian package that has it.
    private var package: String {
        switch self {
        case .nbdinfo, .nbdcopy: "libnbd-bin"
        case .qemuImg, .qemuIO: "qemu-utils"
        case .fio: "fio"
        case .cmp: "diffutils"
        }
    }

    /// What a tool said, when it failed or is missing.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Runs the tool and gives what it printed.
    /// - Throws: `Failure` unless it exits with 0.
    @discardableResult
    package func callAsFunction(_ arguments: String...) async throws -> String {
        let outputBytesMax = 4 << 20
        let result: ExecutionResult<Void, StringOutput<UTF8>, StringOutput<UTF8>>
        do {
            result = try await run(
                .name(rawValue), arguments: Arguments(arguments), output: .string(limit: outputBytesMax),
                error: .string(limit: outputBytesMax))
        } catch {
            throw Failure(description: "\(rawValue) can't run (\(error)); apt-get install \(package)")
        }
        let output = result.standardOutput
        guard result.terminationStatus.isSuccess else {
            let said = output + result.standardError
            throw Failure(
                description: "\(rawValue) \(arguments.joined(separator: " ")): \(result.terminationStatus)\n\(said)")
        }
        return output
    }
}
