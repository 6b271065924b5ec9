import Foundation
import VMSyncCore

/// One planned move of a lease. Its form is that of `Identifier`.
package struct SwitchID: Hashable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String
    package init?(rawValue: String) {
        guard Identifier.isValid(rawValue) else { return nil }
        self.rawValue = rawValue
    }
    package static func random() -> SwitchID { SwitchID(unchecked: Identifier.random()) }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
}

/// How far a switch has come.
package enum SwitchState: String, Hashable, Sendable, Codable, CaseIterable {
    /// Somebody asked for it; the target has not answered.
    case requested
    /// The target can take the VM as soon as the lease moves.
    case ready
    /// The source's last commit moved the lease; the target is starting the VM.
    case moved
    /// The VM runs on the target.
    case done
    /// The target can't take the VM.
    case refused
    /// Source or target gave up.
    case failed
    /// It had not moved in time.
    case expired
}

/// The planned move of a VM's lease from one device to another. (docs/protocol/sync-api.md, "Switches")
package struct SwitchRecord: Hashable, Sendable, Codable {
    package let id: SwitchID
    package let vm: VMID
    /// The holder when it was requested.
    package let from: DeviceID
    package let to: DeviceID
    package internal(set) var state: SwitchState
    /// Why it was refused or failed: an encrypted `Reason`, if a device has said so.
    package internal(set) var reason: Data?
    /// Whether the guest is shut down, and boots at the target: for devices between which it can't move while it runs.
    package let isCold: Bool
    package let created: Timestamp
    /// When its target last said anything of it, or, from when that is ready, its source.
    package internal(set) var touched: Timestamp
    /// The newest checkpoint that the target has said to hold.
    package internal(set) var held: Sequence?
    /// What each part took, in milliseconds, as source and target measured it.
    package internal(set) var steps: [String: Double]

    /// How long a switch stays open of which nothing is heard, and how long one that moved bars the next. Short enough
    /// that a dead target doesn't keep the VM from going elsewhere.
    package static let openMax: Duration = .seconds(60)
    /// How often a device that sends or fetches for it says so: three may be lost on the way.
    package static let touchInterval: Duration = .seconds(15)
    /// How many steps a record keeps: more than any switch has, few enough to send with every event.
    package static let stepCountMax = 64

    init(id: SwitchID, vm: VMID, from: DeviceID, to: DeviceID, isCold: Bool = false, created: Timestamp) {
        self.id = id
        self.vm = vm
        self.from = from
        self.to = to
        self.isCold = isCold
        self.state = .requested
        self.created = created
        touched = created
        self.steps = [:]
    }

    /// One that went from device to device, without the server. (docs/protocol/direct.md)
    package init(
        direct id: SwitchID, vm: VMID, from: DeviceID, to: DeviceID, created: Timestamp, steps: [String: Double]
    ) {
        self.init(id: id, vm: vm, from: from, to: to, created: created)
        state = .done
        self.steps = steps
    }

    enum CodingKeys: String, CodingKey {
        case id, vm, from, to, state, reason, created, touched, held, steps
        case isCold = "cold"
    }

    /// Whether it has given the VM to `device`, and the device hasn't said yet that the VM runs there.
    package func isArriving(at device: DeviceID) -> Bool { to == device && state == .moved }

    /// Whether `device` may still hand the VM over by it.
    package func isLeaving(_ device: DeviceID) -> Bool {
        from == device && (state == .requested || state == .ready)
    }

    /// Whether `device` is to shut the guest down for it, and then hands the VM over.
    package func awaitsShutdown(on device: DeviceID) -> Bool { isCold && from == device && state == .ready }

    /// Whether it brings the VM to `device`, or is to, and the VM isn't said to run there yet.
    package func isComing(to device: DeviceID) -> Bool {
        to == device && (state == .requested || state == .ready || state == .moved)
    }

    /// Whether it bars another switch at `now`. A clock that was set back must not make it last: one of which something was
    /// heard that far in the future is over too.
    package func isOpen(at now: Timestamp) -> Bool {
        switch state {
        case .requested, .ready, .moved: now < touched + Self.openMax && touched < now + Self.openMax
        case .done, .refused, .failed, .expired: false
        }
    }
}

/// Why something did not happen, as one device tells the others.
package struct Reason: Hashable, Sendable, Codable {
    package let code: VMSyncError.Code
    package let message: String
    package let hint: String?
    package let device: String?

    package init(_ error: VMSyncError) {
        code = error.code
        message = error.message
        hint = error.hint
        device = error.device
    }

    /// The same as an error that can be thrown.
    package var error: VMSyncError { VMSyncError(code, message, hint: hint, device: device) }
}
