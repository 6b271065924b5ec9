import Foundation
import VMSyncCore
import VMSyncPolicy

/// A device as all devices see it.
package struct DeviceRecord: Hashable, Sendable, Codable {
    package let id: DeviceID
    package let name: String
    package let platform: String
    package let joined: Timestamp
    package let lastSeen: Timestamp
    /// Whether it has an open event stream.
    package let connected: Bool
    /// What it can run, in words that only devices understand.
    package let capabilities: JSONValue?

    package init(
        id: DeviceID, name: String, platform: String, joined: Timestamp, lastSeen: Timestamp, connected: Bool,
        capabilities: JSONValue?
    ) {
        self.id = id
        self.name = name
        self.platform = platform
        self.joined = joined
        self.lastSeen = lastSeen
        self.connected = connected
        self.capabilities = capabilities
    }

    enum CodingKeys: String, CodingKey {
        case id, name, platform, joined, connected, capabilities
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
    package let name: String
    /// How to build the VM; only devices read it.
    package let definition: Data
    package let epoch: Epoch
    /// The active device.
    package let holder: DeviceID?
    /// A device that commits knows it before the server's next record does.
    package var head: CheckpointRecord?
    package let runState: RunState
    /// The last switch, whatever became of it.
    package let lastSwitch: SwitchRecord?
    package let created: Timestamp
    /// Of two records of a VM, that with the larger revision is the newer.
    package let revision: UInt64

    package init(
        name: String, definition: Data, lease: LeaseState, created: Timestamp, revision: UInt64
    ) {
        id = lease.vm
        self.name = name
        self.definition = definition
        epoch = lease.epoch
        holder = lease.holder
        head = lease.head
        runState = lease.holder != nil ? .active : lease.head?.kind == .live ? .suspended : .off
        lastSwitch = lease.lastSwitch
        self.created = created
        self.revision = revision
    }

    enum CodingKeys: String, CodingKey {
        case id, name, definition, epoch, holder, head, created, revision
        case runState = "run_state"
        case lastSwitch = "switch"
    }
}
