import VMSyncCore
import VMSyncPolicy

/// What the command line and the daemon say to each other over the daemon's unix socket: HTTP, one path per verb, JSON.
/// A step that may take long answers with one JSON object a line, `ControlLine`, until it ends.
package enum ControlPath {
    package static let status = "/status"
    package static let doctor = "/doctor"
    package static let devices = "/devices"
    package static let approve = "/devices/approve"
    package static let revoke = "/devices/revoke"
    package static let invitations = "/invitations"
    package static let keyExport = "/key/export"
    package static let keyCheck = "/key/check"
    package static let vms = "/vms"
    package static let shares = "/shares"
    package static let revokeShare = "/shares/revoke"
    package static let open = "/open"
    package static let policy = "/policy"
}

/// `GET /status`
package struct DaemonStatus: Sendable, Codable {
    package var device: String
    package var id: DeviceID
    package var server: String
    package var serverAnswers: Bool
    package var state: String
    package var pid: Int32
    package var vms: [VMStatus]

    package init(
        device: String, id: DeviceID, server: String, serverAnswers: Bool, state: String, pid: Int32, vms: [VMStatus]
    ) {
        self.device = device
        self.id = id
        self.server = server
        self.serverAnswers = serverAnswers
        self.state = state
        self.pid = pid
        self.vms = vms
    }

    enum CodingKeys: String, CodingKey {
        case device, id, server, state, pid, vms
        case serverAnswers = "server_answers"
    }
}

/// `GET /devices`: a device as its person knows it.
package struct DeviceStatus: Sendable, Codable {
    package var id: DeviceID
    package var name: String
    package var platform: String
    package var joined: Timestamp
    package var lastSeen: Timestamp
    package var connected: Bool
    package var isThisOne: Bool
    /// Whether it never runs a VM.
    package var isMirror: Bool
    /// Where the local network says that it is, as `HOST:PORT`.
    package var nearby: [String] = []

    package init(
        id: DeviceID, name: String, platform: String, joined: Timestamp, lastSeen: Timestamp, connected: Bool,
        isThisOne: Bool, isMirror: Bool
    ) {
        self.id = id
        self.name = name
        self.platform = platform
        self.joined = joined
        self.lastSeen = lastSeen
        self.connected = connected
        self.isThisOne = isThisOne
        self.isMirror = isMirror
    }

    enum CodingKeys: String, CodingKey {
        case id, name, platform, joined, connected, nearby
        case lastSeen = "last_seen"
        case isThisOne = "this_one"
        case isMirror = "mirror"
    }
}

/// `POST /devices/approve`, `POST /devices/revoke`
package struct DeviceOrder: Sendable, Codable {
    /// The id of the one to approve; name or id of the one to revoke.
    package var device: String
    package init(device: String) { self.device = device }
}

/// `POST /key/check`, and the answer to `POST /key/export`.
package struct RecoveryKeyText: Sendable, Codable {
    package var key: String
    package init(key: String) { self.key = key }
}

/// The answer to `POST /key/check`.
package struct KeyCheck: Sendable, Codable {
    /// How many keys the recovery key opens: all there are.
    package var keys: Int
    package init(keys: Int) { self.keys = keys }
}

/// `POST /vms/NAME/start`
package struct StartRequest: Sendable, Codable {
    /// Takes the VM from a device that is lost.
    package var force: Bool
    /// The epoch that the person has seen; nil if nobody has looked.
    package var epoch: Epoch?

    package init(force: Bool, epoch: Epoch? = nil) {
        self.force = force
        self.epoch = epoch
    }

    /// An order that doesn't say is a plain one.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        force = try container.decodeIfPresent(Bool.self, forKey: .force) ?? false
        epoch = try container.decodeIfPresent(Epoch.self, forKey: .epoch)
    }
}

/// `GET /vms/NAME/takeover`: what would be lost if this device took the VM over now.
package struct Takeover: Sendable, Codable {
    /// Of the lease as it stands.
    package var epoch: Epoch
    /// Name of the active device; nil if there is none, and nothing to take over.
    package var device: String?
    /// Whether the server hears from it.
    package var connected: Bool
    /// Seconds since the server heard from it last, and since its last checkpoint, by the server's clock.
    package var silentSeconds: Double?
    package var savedSecondsAgo: Double?
    /// The newest checkpoint.
    package var head: Sequence

    package init(
        epoch: Epoch, device: String?, connected: Bool, silentSeconds: Double?, savedSecondsAgo: Double?, head: Sequence
    ) {
        self.epoch = epoch
        self.device = device
        self.connected = connected
        self.silentSeconds = silentSeconds
        self.savedSecondsAgo = savedSecondsAgo
        self.head = head
    }

    enum CodingKeys: String, CodingKey {
        case epoch, device, connected, head
        case silentSeconds = "silent_seconds"
        case savedSecondsAgo = "saved_seconds_ago"
    }
}

/// `POST /vms`
package struct CreateRequest: Sendable, Codable {
    package var name: String
    /// Absolute path.
    package var disk: String
    /// Bytes.
    package var memory: UInt64
    package var cores: Int
    package var architecture: String
    package var cpuModel: String?
    /// Absolute path; with it the guest needs no boot loader.
    package var kernel: String?
    package var initrd: String?
    package var commandLine: String?
    /// Whether the machine has a sound card.
    package var sound: Bool

    package init(
        name: String, disk: String, memory: UInt64, cores: Int, architecture: String, cpuModel: String?,
        kernel: String?, initrd: String?, commandLine: String?, sound: Bool = false
    ) {
        self.name = name
        self.disk = disk
        self.memory = memory
        self.cores = cores
        self.architecture = architecture
        self.cpuModel = cpuModel
        self.kernel = kernel
        self.initrd = initrd
        self.commandLine = commandLine
        self.sound = sound
    }

    enum CodingKeys: String, CodingKey {
        case name, disk, memory, cores, architecture, kernel, initrd, sound
        case cpuModel = "cpu_model"
        case commandLine = "command_line"
    }
}

/// `POST /vms/NAME/stop`
package struct StopRequest: Sendable, Codable {
    package var force: Bool
    package init(force: Bool) { self.force = force }
}

/// `POST /vms/NAME/switch`
package struct SwitchOrder: Sendable, Codable {
    /// Name of the device; nil is the one that is asked.
    package var to: String?
    /// Whether to shut the guest down for it.
    package var isCold: Bool?

    package init(to: String?, isCold: Bool? = nil) {
        self.to = to
        self.isCold = isCold
    }

    enum CodingKeys: String, CodingKey {
        case to
        case isCold = "cold"
    }
}

/// `POST /vms/NAME/verify`: the digest of what is really there, read from the first byte to the last.
package struct Verification: Sendable, Codable {
    package var sequence: Sequence
    package var recorded: String
    package var recomputed: String

    package init(sequence: Sequence, recorded: String, recomputed: String) {
        self.sequence = sequence
        self.recorded = recorded
        self.recomputed = recomputed
    }

    package var matches: Bool { recorded == recomputed }
}

/// One line of the answer to a long step: progress or nothing any number of times, then either the end or an error.
package struct ControlLine: Sendable, Codable {
    package var progress: StepProgress?
    package var result: JSONValue?
    package var error: Reason?

    package init(progress: StepProgress?) { self.progress = progress }
    package init(result: some Encodable) throws { self.result = try JSONValue(encoding: result) }
    package init(error: VMSyncError) { self.error = Reason(error) }
}

/// A result that says no more than that it worked.
package struct Done: Sendable, Codable {
    package init() {}
}
