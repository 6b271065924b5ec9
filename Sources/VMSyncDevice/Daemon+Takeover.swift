import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// Taking a VM over from a device that is away. (docs/protocol/lost-devices.md)
extension Daemon {
    /// What would be lost; all by what the server says now.
    func takeover(of host: VMHost) async throws -> Takeover {
        let record = try await client.vm(host.id)
        let now = try await client.checkHealth()
        let holder = await host.holder(by: record)
        let device = holder == nil ? nil : try await client.devices().first { $0.id == holder }
        // What came straight from that device, and the server doesn't have yet.
        let newest = await host.newestShared
        func since(_ time: Timestamp) -> Double { Double(now.rawValue - time.rawValue) / 1000 }
        return Takeover(
            epoch: record.epoch, device: holder.map { id in deviceList.first { $0.id == id }?.name ?? "\(id)" },
            connected: device?.connected ?? false, silentSeconds: device.map { since($0.lastSeen) },
            savedSecondsAgo: newest.map { Date().timeIntervalSince1970 - $0.created }
                ?? record.head.map { since($0.created) },
            head: newest?.sequence ?? record.head?.sequence ?? .base)
    }

    /// Tells the hosts which devices the server hears from; nil if the server itself isn't heard.
    func notePresence() async {
        let present = serverAnswers ? Set(devices.filter(\.connected).map(\.id)) : nil
        for host in hosts.values { await host.notePresence(present) }
    }
}
