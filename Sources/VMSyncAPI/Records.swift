import Foundation
import VMSyncCore
import VMSyncPolicy

/// A device of an account, as its server knows it.
package struct DeviceRecord: Hashable, Sendable, Codable {
    package let id: DeviceID
    package let joined: Timestamp
    package let lastSeen: Timestamp
    /// Whether it has an open event stream.
    package let connected: Bool
    /// What it tells the others of itself, encrypted; absent until it has.
    package let profile: Data?

    package init(id: DeviceID, joined: Timestamp, lastSeen: Timestamp, connected: Bool, profile: Data?) {
        self.id = id
        self.joined = joined
        self.lastSeen = lastSeen
        self.connected = connected
        self.profile = profile
    }

    enum CodingKeys: String, CodingKey {
        case id, joined, connected, profile
        case lastSeen = "last_seen"
    }
}

/// Whether a VM runs, and if not, what it starts from.
package enum RunState: String, Hashable, Sendable, Codable {
    /// Shut off: it starts by booting.
    case off
    /// Nobody runs it; it goes on where its head was.
    case suspended
    /// The holder of the lease runs it.
    case active
}

/// A VM as the server knows it.
package struct VMRecord: Hashable, Sendable, Codable {
    package let id: VMID
    /// Its name and how to build it, encrypted.
    package let description: Data
    /// Devices that have handed the VM over know it before the server.
    package var epoch: Epoch
    /// The active device.
    package var holder: DeviceID?
    /// A device that commits knows it before the server's next record does.
    package var head: CheckpointRecord?
    package let runState: RunState
    /// The last switch, whatever became of it.
    package let lastSwitch: SwitchRecord?
    /// The signed word of the device that was given the VM after the head and gave it back.
    package let release: Data?
    /// What is set for it on all devices, encrypted.
    package let policy: Data?
    /// What devices have said of themselves and this VM.
    package let standings: [Standing]
    package let created: Timestamp
    /// Of two records of a VM, that with the larger revision is the newer.
    package let revision: UInt64

    /// What one device has said of itself and a VM.
    package struct Standing: Hashable, Sendable, Codable {
        package let device: DeviceID
        /// The checkpoint that it holds.
        package let held: Sequence
        /// How it stands, encrypted.
        package let note: Data?
        package let told: Timestamp

        package init(device: DeviceID, held: Sequence, note: Data?, told: Timestamp) {
            self.device = device
            self.held = held
            self.note = note
            self.told = told
        }
    }

    package init(
        description: Data, lease: LeaseState, policy: Data?, standings: [Standing], created: Timestamp,
        revision: UInt64
    ) {
        id = lease.vm
        self.description = description
        epoch = lease.epoch
        holder = lease.holder
        head = lease.head
        runState = lease.holder != nil ? .active : lease.head?.kind == .live ? .suspended : .off
        lastSwitch = lease.lastSwitch
        release = lease.release
        self.policy = policy
        self.standings = standings
        self.created = created
        self.revision = revision
    }

    enum CodingKeys: String, CodingKey {
        case id, description, epoch, holder, head, release, policy, standings, created, revision
        case runState = "run_state"
        case lastSwitch = "switch"
    }
}
