import Foundation
import VMSyncCore
import VMSyncPolicy

/// `POST /join`
package struct JoinRequest: Sendable, Codable {
    package let invitation: String
    package let name: String
    package let platform: String

    package init(invitation: String, name: String, platform: String) {
        self.invitation = invitation
        self.name = name
        self.platform = platform
    }
}

/// The answer to a join: who the device is now, and what it proves it with.
package struct JoinAnswer: Sendable, Codable {
    package let device: DeviceRecord
    /// A secret: it is shown once, and the server keeps only its hash.
    package let token: String

    package init(device: DeviceRecord, token: String) {
        self.device = device
        self.token = token
    }
}

/// The answer to `POST /invitations`.
package struct Invitation: Sendable, Codable {
    /// Four groups of four letters to type on the new device.
    package let invitation: String
    package let expires: Timestamp

    package init(invitation: String, expires: Timestamp) {
        self.invitation = invitation
        self.expires = expires
    }
}

/// `GET /devices`, and the `devices` event.
package struct DeviceList: Sendable, Codable {
    package let devices: [DeviceRecord]
    package init(devices: [DeviceRecord]) { self.devices = devices }
}

/// Chunks asked for, missing or needed.
package struct HashList: Sendable, Codable {
    package let hashes: [ContentHash]
    package init(hashes: [ContentHash]) { self.hashes = hashes }
}

/// `POST /vms`
package struct CreateVMRequest: Sendable, Codable {
    package let id: VMID
    package let name: String
    package let definition: Data
    package let chunks: [ContentHash]

    package init(id: VMID, name: String, definition: Data, chunks: [ContentHash]) {
        self.id = id
        self.name = name
        self.definition = definition
        self.chunks = chunks
    }
}

/// `GET /vms`
package struct VMList: Sendable, Codable {
    package let vms: [VMRecord]
    package init(vms: [VMRecord]) { self.vms = vms }
}

/// The lease's epoch: the answer to taking it, and the body of giving it up.
package struct LeaseEpoch: Sendable, Codable {
    package let epoch: Epoch
    package init(epoch: Epoch) { self.epoch = epoch }
}

/// `GET /vms/{id}/checkpoints`
package struct CheckpointList: Sendable, Codable {
    package let checkpoints: [CheckpointRecord]
    package init(checkpoints: [CheckpointRecord]) { self.checkpoints = checkpoints }
}

/// `POST /vms/{id}/switches`
package struct SwitchRequest: Sendable, Codable {
    package let to: DeviceID
    package init(to: DeviceID) { self.to = to }
}

/// `POST …/ready`
package struct ReadyReport: Sendable, Codable {
    /// The checkpoint that the target holds.
    package let sequence: Sequence
    package init(sequence: Sequence) { self.sequence = sequence }
}

/// `POST …/report`
package struct StepReport: Sendable, Codable {
    /// Milliseconds by the name of the step.
    package let steps: [String: Double]
    package init(steps: [String: Double]) { self.steps = steps }
}

/// The `deleted` event.
package struct DeletedVM: Sendable, Codable {
    package let id: VMID
    package init(id: VMID) { self.id = id }
}

/// `GET /healthz`
package struct Health: Sendable, Codable {
    package let status: String
    package init(status: String = "ok") { self.status = status }
}
