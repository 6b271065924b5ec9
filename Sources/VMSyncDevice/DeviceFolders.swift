#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Crypto
import Foundation
import VMSyncCore
import VMSyncMachine

/// Where a device keeps what is its own. Two devices on one host differ in `state` and share nothing.
package struct DeviceFolders: Sendable, Hashable {
    /// What survives a power loss.
    package let state: String
    /// States on their way into another VM; nothing of it outlives the daemon.
    var forks: String { state + "/forks" }
    /// The VMs that they are meant for, while these have no state.
    var unborn: String { state + "/unborn.json" }
    /// Sockets. Short, because a socket's path has at most 107 bytes.
    package let run: String
    /// Guest memory: on a tmpfs.
    package let memory: String

    /// The folders of the device whose state lies in `state`; by default `$XDG_STATE_HOME/vmsync`.
    package init(state: String? = nil) {
        let environment = ProcessInfo.processInfo.environment
        let home = environment["HOME"] ?? "/tmp"
        let standard = (environment["XDG_STATE_HOME"] ?? home + "/.local/state") + "/vmsync"
        let path = URL(fileURLWithPath: state ?? standard).standardizedFileURL.path
        self.state = path
        // Run and memory folders belong to this state folder and to no other.
        let tag = SHA256.hash(data: Data(path.utf8)).prefix(6).map { String(format: "%02x", $0) }.joined()
        let runtime = environment["XDG_RUNTIME_DIR"] ?? "/tmp"
        run = "\(runtime)/vmsync-\(getuid())-\(tag)"
        memory = "/dev/shm/vmsync-\(getuid())-\(tag)"
    }

    /// Below it the kernel's files are looked for, in place of the root; for trials on a host without a battery.
    static var hostRoot: String? { ProcessInfo.processInfo.environment["VMSYNC_HOST_ROOT"] }

    package var control: String { run + "/control" }
    package var identity: String { state + "/device.json" }
    package var keys: String { state + "/device.key" }
    package var account: String { state + "/account.json" }
    /// What a person has set for this device.
    var policy: String { state + "/policy.json" }
    /// What was sent and fetched.
    var traffic: String { state + "/traffic.json" }
    /// Where the other devices were last known to listen.
    package var addresses: String { state + "/addresses.json" }
    package var images: String { state + "/images" }
    package var log: String { state + "/daemon.log" }
    package var lock: String { state + "/daemon.lock" }

    package func machine(_ vm: VMID) -> MachinePaths {
        // Eight letters of the id keep the sockets' paths short; they name one VM of one person.
        MachinePaths(
            state: "\(state)/vms/\(vm)", run: "\(run)/\(vm.rawValue.prefix(8))", memory: "\(memory)/\(vm)")
    }

    /// Makes the folders, for this user only.
    /// - Throws: `io`; `unauthorized` if somebody else owns one: guest memory would be theirs to read.
    package func make() throws(VMSyncError) {
        for folder in [state, run, memory, images] {
            try AtomicFile.makeFolder(folder)
            var status = stat()
            guard stat(folder, &status) == 0 else { throw .system("stat", path: folder) }
            guard status.st_uid == getuid() else {
                throw VMSyncError(.unauthorized, "\(folder) belongs to another user", hint: "remove it, or use --state")
            }
            guard chmod(folder, 0o700) == 0 else { throw .system("chmod", path: folder) }
        }
    }
}
