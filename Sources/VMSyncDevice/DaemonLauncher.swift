#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncAPI
import VMSyncCore

/// Starts and stops a device's daemon from the command line.
package enum DaemonLauncher {
    /// A daemon asks two QEMUs what they can before it answers; a busy host takes its time.
    private static let startLimit = Duration.seconds(30)
    private static let stopLimit = Duration.seconds(30)
    /// POSIX_SPAWN_SETSID of <spawn.h>, which glibc hides from Swift behind _GNU_SOURCE.
    private static let newSession: Int16 = 0x80

    /// Starts the daemon of `folders` unless it runs.
    /// - Throws: `wrongState` if this device has not joined; `unavailable` with the end of its log if it doesn't come up.
    package static func ensureRunning(_ folders: DeviceFolders) async throws {
        _ = try DeviceIdentity.load(folders)
        if await answers(folders) { return }
        try spawn(folders)
        let deadline = ContinuousClock.now + startLimit
        while ContinuousClock.now < deadline {
            if await answers(folders) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        let log = (try? String(contentsOfFile: folders.log, encoding: .utf8)) ?? ""
        throw VMSyncError(
            .unavailable, "the daemon doesn't come up: \(log.split(separator: "\n").last ?? "no word in its log")",
            hint: "see \(folders.log), or try: vmsync daemon run")
    }

    package static func stop(_ folders: DeviceFolders) async throws {
        let status: DaemonStatus = try await ControlClient.with(socket: folders.control) {
            try await $0.get(ControlPath.status)
        }
        kill(status.pid, SIGTERM)
        let deadline = ContinuousClock.now + stopLimit
        while isAlive(status.pid) {
            guard ContinuousClock.now < deadline else {
                throw VMSyncError(.timeout, "the daemon (pid \(status.pid)) doesn't stop", hint: "kill \(status.pid)")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// A process whose parent hasn't noticed its end still takes signals, but has no command line any more.
    private static func isAlive(_ pid: Int32) -> Bool {
        FileManager.default.contents(atPath: "/proc/\(pid)/cmdline").map { !$0.isEmpty } ?? false
    }

    private static func answers(_ folders: DeviceFolders) async -> Bool {
        guard FileManager.default.fileExists(atPath: folders.control) else { return false }
        let status: DaemonStatus? = try? await ControlClient.with(socket: folders.control) {
            try await $0.get(ControlPath.status)
        }
        return status != nil
    }

    /// A process of its own: the daemon outlives the command that starts it.
    private static func spawn(_ folders: DeviceFolders) throws {
        try folders.make()
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, folders.log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, newSession)
        let arguments = [program, "daemon", "run", "--state", folders.state]
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, program, &actions, &attributes, &pointers, environ)
        guard failure == 0 else { throw VMSyncError.system("start", path: program, number: failure) }
    }
}
