import Foundation
import Logging
import Synchronization
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// What is the same for all VMs of a device when it decides what to sync: its settings, its power and network, and what
/// it has sent and fetched.
package final class DeviceConditions: Sendable {
    private struct State {
        var host = HostConditions()
        var ledger: TrafficLedger
        /// What the meter showed when it was read last.
        var read: UInt64 = 0
        var saved: TrafficLedger
        var deviceLayer: PolicyLayer
    }

    private let state: Mutex<State>
    private let meter: TrafficMeter
    /// What the daemon was started with.
    package let commandLine: PolicyLayer
    private let folders: DeviceFolders
    private let logger: Logger

    /// - Throws: `corrupt` if the settings can't be read: a cap that is forgotten costs money.
    package init(
        folders: DeviceFolders, meter: TrafficMeter, commandLine: PolicyLayer, logger: Logger
    ) throws(VMSyncError) {
        (self.folders, self.meter, self.commandLine, self.logger) = (folders, meter, commandLine, logger)
        let ledger =
            AtomicFile.readIfWhole(TrafficLedger.self, at: folders.traffic) { logger.warning("\($0.message)") }
            ?? TrafficLedger(.today)
        let layer = try AtomicFile.read(PolicyLayer.self, at: folders.policy) ?? PolicyLayer()
        state = Mutex(State(ledger: ledger, saved: ledger, deviceLayer: layer))
    }

    package var host: HostConditions { state.withLock { $0.host } }

    /// - Returns: whether anything changed.
    @discardableResult
    package func update(_ host: HostConditions) -> Bool {
        state.withLock { state in
            defer { state.host = host }
            return state.host != host
        }
    }

    // MARK: Settings

    package var deviceLayer: PolicyLayer { state.withLock { $0.deviceLayer } }

    package func setDeviceLayer(_ layer: PolicyLayer) throws(VMSyncError) {
        try AtomicFile.write(layer, to: folders.policy, durable: true)
        state.withLock { $0.deviceLayer = layer }
    }

    // MARK: Traffic

    /// What was sent and fetched until now.
    package var used: TrafficUse {
        state.withLock { state in
            count(&state)
            return state.ledger.use(at: .today)
        }
    }

    /// All bytes that went over the connections to the servers since the daemon began.
    package var moved: UInt64 { meter.bytes }

    private func count(_ state: inout State) {
        let shown = meter.bytes
        guard shown > state.read else { return }
        state.ledger.note(shown - state.read, isMetered: state.host.isMetered, at: .today)
        state.read = shown
    }

    /// Keeps what was counted over a restart.
    package func saveTraffic() {
        let unsaved: TrafficLedger? = state.withLock { state in
            count(&state)
            guard state.saved != state.ledger else { return nil }
            state.saved = state.ledger
            return state.ledger
        }
        guard let unsaved else { return }
        do throws(VMSyncError) {
            try AtomicFile.write(unsaved, to: folders.traffic)
        } catch {
            logger.warning("\(error.message)")
        }
    }

    /// The signals of this device, for a decision about one VM.
    package func signals(_ forecast: SwitchForecast) -> SyncSignals {
        var signals = SyncSignals(forecast: forecast)
        let host = host
        signals.take(host)
        signals.used = used
        return signals
    }
}

extension TrafficLedger.Date {
    /// By this device's calendar.
    static var today: TrafficLedger.Date {
        let now = Date()
        let offset = Double(TimeZone.current.secondsFromGMT(for: now))
        let parts = Calendar(identifier: .gregorian).dateComponents([.year, .month], from: now)
        return TrafficLedger.Date(
            day: Int(((now.timeIntervalSince1970 + offset) / 86_400).rounded(.down)),
            month: (parts.year ?? 0) * 12 + (parts.month ?? 0))
    }
}
