/// Sleep and shutdown: the lock that delays them, and what is told of them.
extension HostWatch {
    /// logind is there, for the first time or another one: locks of the one before are void.
    func loginCame() async {
        guard let bus else { return }
        lock = nil
        await takeMissingLock()
        let logind = Logind(bus: bus)
        // What was signalled before we listened.
        if let isNear = try? await logind.isPreparingForSleep() { await note(preparingForSleep: isNear) }
        if let isNear = try? await logind.isPreparingForShutdown() { await note(preparingForShutdown: isNear) }
    }

    /// Nobody would tell us any more that the host doesn't sleep after all. A shutdown goes on: it takes the bus along.
    func loginGone(because reason: String) {
        lock = nil
        sleepDelay = .unknown(reason)
        tell(sleep.note(preparingForSleep: false, now))
    }

    /// Takes the lock if there is none: in the beginning, after each sleep, or when logind refused it before, as it
    /// does while the host is about to sleep.
    func takeMissingLock() async {
        guard let bus, owners[Logind.manager.service] != nil, lock == nil, !isTakingLock, !sleep.isGoingToSleep,
            !sleep.isGoingDown
        else { return }
        isTakingLock = true
        defer { isTakingLock = false }
        do throws(BusError) {
            let logind = Logind(bus: bus)
            let time = try await logind.delayMax()
            let taken = try await logind.lock(inhibitor)
            sleepDelay = .known(time)
            if sleep.isGoingToSleep || sleep.isGoingDown {
                // It was on its way when the host began.
                handedOut?.take(taken)
            } else {
                lock = taken
            }
        } catch {
            if sleepDelay.value != nil || sleepDelay.whyUnknown != error.message {
                logger.warning("can't delay the host's sleep", metadata: ["reason": "\(error)"])
            }
            sleepDelay = .unknown(error.message)
        }
    }

    func note(preparingForSleep: Bool) async {
        tell(sleep.note(preparingForSleep: preparingForSleep, now))
        await takeMissingLock()
    }

    func note(preparingForShutdown: Bool) async {
        tell(sleep.note(preparingForShutdown: preparingForShutdown))
        await takeMissingLock()
    }

    func noteClocks() { tell(sleep.note(now)) }

    private func tell(_ changes: [SleepWatch.Change]) {
        for change in changes {
            logger.debug("the host's sleep", metadata: ["change": "\(change)"])
            switch change {
            case .willSleep: continuation.yield(.willSleep(handOutLock()))
            case .willShutDown: continuation.yield(.willShutDown(handOutLock()))
            case .shutdownCancelled:
                handedOut?.release()
                continuation.yield(.shutdownCancelled)
            case .woke(let slept):
                handedOut?.release()
                continuation.yield(.woke(after: slept))
                lookSoon()
            }
        }
    }

    /// The lock belongs to whoever handles the event; it is given up with the delay.
    private func handOutLock() -> SleepDelay {
        let delay = SleepDelay(lock: lock, time: sleepDelay.value ?? .zero)
        lock = nil
        handedOut = delay
        return delay
    }
}
