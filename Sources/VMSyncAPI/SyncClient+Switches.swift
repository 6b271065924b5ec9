import AsyncHTTPClient
import NIOHTTP1
import VMSyncCore
import VMSyncPolicy

extension SyncClient {
    /// Asks for the VM to move from its holder to `target`.
    package func requestSwitch(_ vm: VMID, to target: DeviceID, isCold: Bool = false) async throws -> SwitchRecord {
        try await ask(.POST, "/vms/\(vm)/switches", SwitchRequest(to: target, isCold: isCold))
    }

    /// Says what this device, as source or target, has to say of a switch.
    package func answer(_ answer: SwitchAnswer, to id: SwitchID, of vm: VMID) async throws -> SwitchRecord {
        let path = "/vms/\(vm)/switches/\(id)"
        return switch answer {
        case .ready(let held): try await ask(.POST, "\(path)/ready", ReadyReport(sequence: held))
        case .refuse(let reason): try await ask(.POST, "\(path)/refuse", ReasonReport(reason: reason))
        case .fail(let reason): try await ask(.POST, "\(path)/fail", ReasonReport(reason: reason))
        case .done: try await ask(.POST, "\(path)/done")
        case .report(let steps): try await ask(.POST, "\(path)/report", StepReport(steps: steps))
        }
    }
}
