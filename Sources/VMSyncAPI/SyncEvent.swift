import NIOCore
import VMSyncCore

/// What the server tells a device as it happens.
package enum SyncEvent: Sendable {
    /// A VM as it is now.
    case vm(VMRecord)
    /// A VM is gone.
    case deleted(VMID)
    /// All devices as they are now.
    case devices([DeviceRecord])
    /// The servers that there are now.
    case servers([String])
    /// The snapshot is complete: VMs that were not in it do not exist.
    case ready
    /// The stream broke. It connects again by itself; a new snapshot follows.
    case disconnected(VMSyncError)

    /// The event on the wire; nil for `disconnected`, which only a client sees.
    package func message() throws -> ServerSentEvent? {
        switch self {
        case .vm(let record): ServerSentEvent(name: "vm", data: try WireJSON.encode(record))
        case .deleted(let id): ServerSentEvent(name: "deleted", data: try WireJSON.encode(DeletedVM(id: id)))
        case .devices(let devices):
            ServerSentEvent(name: "devices", data: try WireJSON.encode(DeviceList(devices: devices)))
        case .servers(let urls): ServerSentEvent(name: "servers", data: try WireJSON.encode(ServerList(urls: urls)))
        case .ready: ServerSentEvent(name: "ready", data: ByteBuffer(string: "{}"))
        case .disconnected: nil
        }
    }

    /// The event in `message`; nil if it is of a kind that this version doesn't know.
    /// - Throws: `corrupt`.
    package init?(_ message: ServerSentEvent) throws {
        switch message.name {
        case "vm": self = .vm(try WireJSON.decode(VMRecord.self, from: message.data, failing: .corrupt))
        case "deleted":
            self = .deleted(try WireJSON.decode(DeletedVM.self, from: message.data, failing: .corrupt).id)
        case "devices":
            self = .devices(try WireJSON.decode(DeviceList.self, from: message.data, failing: .corrupt).devices)
        case "servers":
            self = .servers(try WireJSON.decode(ServerList.self, from: message.data, failing: .corrupt).urls)
        case "ready": self = .ready
        default: return nil
        }
    }
}
