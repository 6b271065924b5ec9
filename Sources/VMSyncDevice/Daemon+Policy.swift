import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// What a person sets, for this device or for a VM on all devices.
extension Daemon {
    func policy() -> PolicyReport {
        let conditions = environment.conditions
        let effective = EffectivePolicy([
            (.device, conditions.deviceLayer), (.commandLine, conditions.commandLine),
        ])
        return PolicyReport(conditions.deviceLayer, effective, presentPlace: conditions.host.place)
    }

    func policy(of host: VMHost) async -> PolicyReport {
        let place = environment.conditions.host.place
        return PolicyReport(await host.policyLayer, await host.effectivePolicy, presentPlace: place)
    }

    func setPolicy(_ order: PolicyOrder) throws -> PolicyReport {
        var layer = environment.conditions.deviceLayer
        try order.apply(to: &layer)
        try environment.conditions.setDeviceLayer(layer)
        for host in hosts.values {
            host.wake.signal()
            Task { await host.noteBaseRule() }
        }
        return policy()
    }

    func setPolicy(_ order: PolicyOrder, of host: VMHost) async throws -> PolicyReport {
        var layer = await host.policyLayer
        try order.apply(to: &layer)
        try await host.setPolicy(layer)
        return await policy(of: host)
    }
}
