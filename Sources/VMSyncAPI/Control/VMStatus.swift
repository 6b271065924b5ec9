import VMSyncCore
import VMSyncPolicy

/// One VM as one device sees it: what `vmsync status` shows.
package struct VMStatus: Sendable, Codable {
    /// The word that a person reads first.
    package enum State: String, Sendable, Codable {
        /// It runs here.
        case active = "Active"
        /// It runs elsewhere; this device has its newest checkpoint.
        case upToDate = "Up to Date"
        /// This device is fetching what it lacks.
        case syncing = "Syncing"
        /// It runs nowhere; it goes on where it was.
        case suspended = "Suspended"
        case stopped = "Stopped"
        /// Between two devices.
        case switching = "Switching"
        /// It ran here, and its QEMU ended though nobody asked it to.
        case crashed = "Crashed"
        /// It ran here without the right to: its late work is kept, paused.
        case diverged = "Diverged"
        /// The server doesn't answer, and the VM doesn't run here.
        case disconnected = "Disconnected"
        /// Something keeps this device from following; `problem` says what.
        case error = "Error"
    }

    package var id: VMID
    package var name: String
    package var state: State
    /// Name of the active device.
    package var activeDevice: String?
    package var holder: DeviceID?
    package var epoch: Epoch
    /// The checkpoint that this device holds.
    package var sequence: Sequence
    /// The newest checkpoint that the server holds.
    package var head: Sequence
    /// Digest of `sequence`.
    package var digest: String?
    /// Since the head became durable on the server, by this device's clock; nil if there is none yet.
    package var savedSecondsAgo: Double?
    /// Sealed here and not yet on the server.
    package var notUploadedBytes: Int
    package var serverAnswers: Bool
    package var progress: StepProgress?
    /// What is missing of the base images that the VM is based on here; nil if nothing is, or if it holds nothing yet.
    package var base: BaseStanding?
    package var problem: Reason?
    package var machine: MachineStatus?
    /// Why it is or isn't synced; nil where there is nothing to sync.
    package var sync: SyncStanding?
    /// Forks of late work that are kept on this device.
    package var forks = 0
    /// What the other devices have said of themselves.
    package var others: [OtherStanding] = []
    package var lastCheckpoint: CheckpointMetrics?
    package var lastSwitch: SwitchRecord?
    /// Why the last switch came to nothing, if a device has said so.
    package var switchReason: Reason?

    package init(id: VMID, name: String) {
        self.id = id
        self.name = name
        state = .disconnected
        epoch = Epoch(rawValue: 0)
        sequence = .base
        head = .base
        notUploadedBytes = 0
        serverAnswers = false
    }

    enum CodingKeys: String, CodingKey {
        case id, name, state, holder, epoch, sequence, head, digest, progress, base, problem, machine, sync, forks
        case others
        case activeDevice = "active_device"
        case savedSecondsAgo = "saved_seconds_ago"
        case notUploadedBytes = "not_uploaded_bytes"
        case serverAnswers = "server_answers"
        case lastCheckpoint = "last_checkpoint"
        case lastSwitch = "last_switch"
        case switchReason = "switch_reason"
    }
}

/// Base images that are still on their way, with the VM based on them already.
package struct BaseStanding: Sendable, Codable, Hashable {
    /// Bytes that aren't here, of how many; both without holes.
    package var missing: UInt64
    package var size: UInt64
    /// Whether something stands still until a part of it is here.
    package var isAwaited: Bool
    /// What the last attempt to fetch a part failed of.
    package var problem: Reason?

    package init(missing: UInt64, size: UInt64, isAwaited: Bool, problem: Reason?) {
        (self.missing, self.size, self.isAwaited, self.problem) = (missing, size, isAwaited, problem)
    }

    enum CodingKeys: String, CodingKey {
        case size, problem
        case missing = "missing_bytes"
        case isAwaited = "awaited"
    }
}

/// What another device has said of itself and a VM.
package struct OtherStanding: Sendable, Codable, Hashable {
    package var device: DeviceID
    package var name: String?
    /// The checkpoint that it held then.
    package var held: Sequence
    /// By the server's clock.
    package var told: Timestamp
    package var words: String?
    /// Forks of late work that it keeps.
    package var forks: Int

    package init(device: DeviceID, held: Sequence, told: Timestamp, words: String?, forks: Int) {
        self.device = device
        self.held = held
        self.told = told
        self.words = words
        self.forks = forks
    }
}

/// A guest's clock, as it was set after the guest had stood still.
package struct GuestClock: Sendable, Codable, Hashable {
    /// How far it was ahead of the device's then.
    package var skewSeconds: Double
    /// After the guest went on.
    package var setAfterSeconds: Double

    package init(skewSeconds: Double, setAfterSeconds: Double) {
        self.skewSeconds = skewSeconds
        self.setAfterSeconds = setAfterSeconds
    }

    enum CodingKeys: String, CodingKey {
        case skewSeconds = "skew_seconds"
        case setAfterSeconds = "set_after_seconds"
    }
}

/// The QEMU of a VM on this device.
package struct MachineStatus: Sendable, Codable, Hashable {
    /// `running`, `waiting` for device state, `held` in a departure, `shutDown`, `died`.
    package var state: String
    package var accelerator: String
    /// How written pages are found: `pagemap` or `compare`.
    package var tracking: String
    /// Why not `pagemap`, if so.
    package var trackingProblem: String?
    package var vncSocket: String
    package var consoleLog: String
    package var pid: Int32
    /// Nil if it wasn't set since the guest went on here.
    package var clock: GuestClock?

    package init(
        state: String, accelerator: String, tracking: String, trackingProblem: String?, vncSocket: String,
        consoleLog: String, pid: Int32, clock: GuestClock?
    ) {
        self.state = state
        self.accelerator = accelerator
        self.tracking = tracking
        self.trackingProblem = trackingProblem
        self.vncSocket = vncSocket
        self.consoleLog = consoleLog
        self.pid = pid
        self.clock = clock
    }

    enum CodingKeys: String, CodingKey {
        case state, accelerator, tracking, pid, clock
        case trackingProblem = "tracking_problem"
        case vncSocket = "vnc_socket"
        case consoleLog = "console_log"
    }
}

/// What one checkpoint cost.
package struct CheckpointMetrics: Sendable, Codable, Hashable {
    package var sequence: Sequence
    /// From the guest's last instruction before to its first after, as QEMU saw it, or until all was captured;
    /// milliseconds.
    package var pauseMilliseconds: Double
    package var packBytes: Int
    /// Pages and blocks in the pack.
    package var units: Int
    /// Pages that were copied out: those written, or, where all memory is compared, those changed.
    package var dirtyPages: Int
    /// Milliseconds by name: stop, scan, copy, device_state, continue, encode, send.
    package var steps: [String: Double]

    package init(
        sequence: Sequence, pauseMilliseconds: Double, packBytes: Int, units: Int, dirtyPages: Int,
        steps: [String: Double]
    ) {
        self.sequence = sequence
        self.pauseMilliseconds = pauseMilliseconds
        self.packBytes = packBytes
        self.units = units
        self.dirtyPages = dirtyPages
        self.steps = steps
    }

    enum CodingKeys: String, CodingKey {
        case sequence, units, steps
        case pauseMilliseconds = "pause_ms"
        case packBytes = "pack_bytes"
        case dirtyPages = "dirty_pages"
    }
}
