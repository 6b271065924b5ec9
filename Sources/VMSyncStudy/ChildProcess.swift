#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCore

/// One process of a trial: a server or a daemon, its output in a file.
package final class ChildProcess: Sendable {
    /// More than a trial has open; the usual limit of a process.
    private static let descriptorsMax = 1024

    package let pid: pid_t
    package let log: String

    /// - Parameter environment: variables to add.
    package init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], log: String
    ) throws(VMSyncError) {
        self.log = log
        let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        var words = ([program] + arguments).map { strdup($0) } + [nil]
        var settings = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for word in words + settings { free(word) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // Sockets that NIO accepted have no CLOEXEC: a child that kept one would keep its connection open. Closing what
        // isn't open does no harm here.
        for descriptor in 3..<Int32(min(Self.descriptorsMax, sysconf(Int32(_SC_OPEN_MAX)))) {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own: Ctrl-C is for the trial, which then ends its processes in order.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        var child: pid_t = 0
        let failure = posix_spawn(&child, program, &actions, &attributes, &words, &settings)
        guard failure == 0 else { throw .system("start", path: program, number: failure) }
        pid = child
    }

    /// Whether it still runs; one that ended is reaped.
    package var isRunning: Bool { waitpid(pid, nil, WNOHANG) == 0 }

    /// Ends it and waits until it is gone: politely first, unless `signal` is SIGKILL.
    package func end(_ signal: Int32 = SIGTERM) async {
        guard isRunning else { return }
        kill(pid, signal)
        let deadline = ContinuousClock.now + .seconds(10)
        while isRunning {
            if ContinuousClock.now > deadline { kill(pid, SIGKILL) }
            // Shielded: a cancelled trial must still leave no process behind.
            await Task { try? await Task.sleep(for: .milliseconds(5)) }.value
        }
    }

    /// What it wrote so far.
    package var output: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }
}
