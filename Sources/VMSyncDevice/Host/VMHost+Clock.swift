import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncMachine

/// After the guest has stood still: its clock is late, and its address on the network may have run out.
extension VMHost {
    /// How long one attempt waits for the guest's agent.
    private static let agentLimit = Duration.seconds(2)
    /// A guest that is waking up may be busy.
    private static let agentAttempts = 5
    /// The cable is out for so long that the guest notices.
    private static let cableOut = Duration.milliseconds(300)

    /// Connects to the agent of a guest that runs here, without which it would wake again and again to look for us.
    func listenToAgent() {
        do {
            agent = try GuestAgent(path: paths.agent)
        } catch {
            // Of a QEMU that an older vmsync has started.
            logger.debug("no line to the guest's agent: \(error.message)")
        }
    }

    /// Sets the clock of a guest that goes on here, beside everything else.
    /// - Parameter pullsCable: whether the guest is made to ask for its address anew: it stood still for longer than a
    ///   switch takes.
    func wakeGuest(pullsCable: Bool) {
        listenToAgent()
        guard let machine else { return }
        let agent = agent
        clock = nil
        waking = Task {
            // An earlier daemon may have ended while it was out.
            if pullsCable { await machine.pullCable(for: Self.cableOut) } else { await machine.plugCable() }
            guard let agent else { return }
            await setClock(by: agent)
        }
    }

    private func setClock(by agent: GuestAgent) async {
        let start = ContinuousClock.now
        for _ in 0..<Self.agentAttempts {
            do {
                let skew = try await agent.setClock(within: Self.agentLimit)
                clock = GuestClock(skewSeconds: skew, setAfterSeconds: (ContinuousClock.now - start).seconds)
                logger.info("the guest's clock is set", metadata: ["skew": "\(skew)"])
                return publish()
            } catch let error as VMSyncError where error.code == .timeout {
                continue
            } catch {
                logger.debug("\(VMSyncError(error).message)")
                break
            }
        }
        logger.notice("the guest's clock could not be set: it has no agent that answers")
    }
}
