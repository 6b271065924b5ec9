import VMSyncCore
import VMSyncPolicy

/// A person who works, and moves the VM about.
extension World {
    mutating func actAsPerson() {
        guard !ending.isCalm else { return }
        var device = random.below(devices.count)
        if device == runningDevice { device = (device + 1) % devices.count }
        if runningDevice == nil, random.half() { request(.start(force: false), of: server.holderIndex() ?? device) }
        switch random.below(16) {
        case 0...4: askForSwitch(to: device, isCold: false)
        case 5: askForSwitch(to: device, isCold: random.half())
        case 6: request(.suspend, of: runningDevice ?? device)
        case 7: shutDownFromWithin(runningDevice ?? device)
        case 8: request(.shutDown, of: runningDevice ?? device)
        case 9: if random.below(4) == 0 { request(.pullPlug, of: runningDevice ?? device) }
        case 10: dropForks(device)
        case 11, 12: if let source = runningDevice { request(.give(to: device), of: source) }
        default: if runningDevice == nil { request(.start(force: false), of: device) }
        }
        queue.plan(.person, at: now + 1 + random.below(settings.personGap))
    }

    var runningDevice: Int? { devices.firstIndex { $0.qemu == .running } }

    /// `vmsync switch`, typed on any device that has a server.
    mutating func askForSwitch(to target: Int, isCold: Bool) {
        guard devices[target].isDaemonUp else { return }
        note("person: switch to \(target)\(isCold ? ", cold" : "")")
        tell(.requestSwitch(to: target, isCold: isCold), from: target)
    }

    /// Shut down in the guest's own menu, which needs no daemon.
    private mutating func shutDownFromWithin(_ device: Int) {
        guard devices[device].qemu == .running else { return }
        note("person: shuts the guest down on \(device)")
        makeWork(device)
        shutDownGuest(device)
        wake(device)
    }

    private mutating func dropForks(_ device: Int) {
        devices[device].disk.forks = []
        ledger.kept[device] = 0
    }
}
