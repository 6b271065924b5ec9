/// What comes from the bus. A signal counts only from who has the name that it is expected from: else any user of the
/// host could send us to sleep.
extension HostWatch {
    private static let services = [Logind.manager.service, NetworkManager.service]
    private static let nameOwnerChanged = "NameOwnerChanged"

    /// Who comes and goes.
    static let matches = services.map {
        "type='signal',sender='\(BusTarget.bus.service)',member='\(nameOwnerChanged)',arg0='\($0)'"
    }

    func handle(_ news: BusNews) async {
        switch news {
        case .connected:
            logger.debug("listening to the bus")
            for service in Self.services { await findOwner(of: service) }
        case .lost(let reason):
            logger.debug("no bus", metadata: ["reason": "\(reason)"])
            for service in Self.services { await note(owner: nil, of: service, because: reason) }
        case .signal(let signal):
            do throws(BusError) { try await handle(signal) } catch {
                logger.warning("a signal of another form", metadata: ["member": "\(signal.member)"])
            }
        }
    }

    private func findOwner(of service: String) async {
        do throws(BusError) {
            let owner = try await bus?.call("GetNameOwner", of: .bus, [service]).string()
            await note(owner: owner, of: service, because: "\(service) doesn't run")
        } catch {
            await note(owner: nil, of: service, because: error.isAbsent ? "\(service) doesn't run" : error.message)
        }
    }

    private func note(owner: String?, of service: String, because reason: String) async {
        let previous = owners[service]
        owners[service] = owner
        if service == Logind.manager.service {
            guard owner != nil else { return loginGone(because: reason) }
            await loginCame()
        } else if owner != previous {
            lookSoon()
        }
    }

    private func handle(_ signal: BusSignal) async throws(BusError) {
        // Only the bus itself can send under this name; others have one that begins with a colon.
        if signal.sender == BusTarget.bus.service {
            guard signal.member == Self.nameOwnerChanged else { return }
            let service = try signal.values.string(0)
            let owner = try signal.values.string(2)
            guard Self.services.contains(service) else { return }
            return await note(owner: owner.isEmpty ? nil : owner, of: service, because: "\(service) doesn't run")
        }
        if signal.sender == owners[NetworkManager.service] { return lookSoon() }
        guard signal.sender == owners[Logind.manager.service], signal.interface == Logind.manager.interface else {
            return
        }
        switch signal.member {
        case Logind.prepareForSleep: await note(preparingForSleep: try signal.values.boolean())
        case Logind.prepareForShutdown: await note(preparingForShutdown: try signal.values.boolean())
        default: return
        }
    }
}
