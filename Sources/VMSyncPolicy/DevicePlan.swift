import VMSyncCore

/// What one device has of one VM and knows of it: all that decides what it does next.
package struct DeviceSituation: Sendable {
    /// What the QEMU of this VM on this device does.
    package enum Machine: Sendable, Equatable {
        case none
        /// Waits for device state, its RAM file following the head.
        case waiting
        case running
        /// Paused by us, with the VM's last moments here in it: only the server knows whether the lease has moved.
        case held
        /// It ended though nobody asked it to.
        case died
        /// The guest shut itself down.
        case shutDown
    }

    /// What the server last said.
    package struct Server: Sendable, Equatable {
        package var holder: DeviceID?
        package var epoch: Epoch
        package var head: Sequence
        package var headKind: CheckpointKind
        package var pendingSwitch: SwitchRecord?

        package init(
            holder: DeviceID?, epoch: Epoch, head: Sequence, headKind: CheckpointKind, pendingSwitch: SwitchRecord?
        ) {
            self.holder = holder
            self.epoch = epoch
            self.head = head
            self.headKind = headKind
            self.pendingSwitch = pendingSwitch
        }
    }

    /// How far a guest is that is to shut down for a cold switch.
    package enum Shutdown: Sendable, Equatable {
        case notAsked
        case asked
        /// It was asked long ago, and doesn't.
        case overdue

        /// What a desktop's programs may take to end, and its services.
        package static let max = Duration.seconds(180)
    }

    package var me: DeviceID
    /// Nil until the server was heard.
    package var server: Server?
    package var machine: Machine
    /// The checkpoint that the replica holds; nil if it must be rebuilt, or there is none yet.
    package var replica: Sequence?
    /// Whether the base images are here.
    package var hasBase: Bool
    /// Whether the guest here stands still because the VM went on elsewhere, and what it did is not put aside yet.
    package var isFenced = false
    /// Checkpoints that are sealed here and not acknowledged.
    package var outbox: [Sequence]
    /// How many of them there may be before a merge.
    package var outboxMax = OutboxOrder.usualMax
    /// The epoch under which the oldest of them was made; nil if there is none.
    package var outboxEpoch: Epoch?
    /// The epoch under which the guest has begun to run here, as long as it isn't known that the lease is elsewhere.
    package var tenure: Epoch?
    /// Whether the last checkpoint of this device's tenure has begun: only the server knows where the VM is.
    package var isDeparting: Bool
    /// Whether the last attempt to send something failed for want of a server, or of space on it.
    package var serverTakesNothing: Bool
    package var checkpointIsDue: Bool
    /// Whether the policy forbids to send and to fetch (docs/policy.md). While a person waits for it only a cap does.
    package var isHeldBack: Bool
    /// That a data cap is used up, in words, if it is.
    package var capProblem: VMSyncError?
    /// Of a switch from here: what should come next.
    package var approach: SwitchApproach.Step
    /// Of a cold switch from here: how far the guest's shutdown has come.
    package var shutdown = Shutdown.notAsked
    /// Why this device can't even boot the VM, if so.
    package var coldObstacle: VMSyncError?
    /// Whether another device has handed the VM over directly, and it hasn't run here yet.
    package var isHandedHere = false
    /// Whether the server doesn't know yet that it is this device that has the VM.
    package var isHandoverUntold = false
    /// Whether the user asked for the VM to run here.
    package var startWanted: Bool
    /// Why this device can't run the VM, if so.
    package var obstacle: VMSyncError?

    package init(
        me: DeviceID, server: Server?, machine: Machine, replica: Sequence?, hasBase: Bool, outbox: [Sequence],
        outboxEpoch: Epoch? = nil, tenure: Epoch? = nil, isDeparting: Bool = false, serverTakesNothing: Bool = false,
        checkpointIsDue: Bool, isHeldBack: Bool = false, capProblem: VMSyncError? = nil,
        approach: SwitchApproach.Step = .lastCheckpoint,
        startWanted: Bool,
        obstacle: VMSyncError?
    ) {
        self.me = me
        self.server = server
        self.machine = machine
        self.replica = replica
        self.hasBase = hasBase
        self.outbox = outbox
        self.outboxEpoch = outboxEpoch
        self.tenure = tenure
        self.isDeparting = isDeparting
        self.serverTakesNothing = serverTakesNothing
        self.checkpointIsDue = checkpointIsDue
        self.isHeldBack = isHeldBack
        self.capProblem = capProblem
        self.approach = approach
        self.startWanted = startWanted
        self.obstacle = obstacle
    }
}

/// The next thing that a device does for a VM.
package enum DeviceAction: Sendable, Equatable {
    /// Nothing, until something changes.
    case wait
    case fetchBase
    /// The replica is of no use: back to the base, then all packs again.
    case rebuild
    /// Fetch and apply the pack of the checkpoint that follows the replica's.
    case applyNext
    /// Drop a checkpoint from the outbox: the server has it, or has gone on without it.
    case drop(Sequence)
    /// Send the oldest checkpoint of the outbox.
    case upload
    case checkpoint
    /// Make a checkpoint and keep it here, merged with what waits already.
    case keep
    /// Press the guest's power button, for a cold switch.
    case shutDownGuest(SwitchID)
    /// The guest has shut down: seal what its disks hold and give the lease back.
    case sealOff
    /// Pause, make the last checkpoint, and move the lease with its commit.
    case handOver(SwitchID)
    /// Find out whether the lease has moved, and go on accordingly.
    case settleDeparture
    /// This device can't do what the switch takes.
    case declineHandOver(SwitchID, Reason)
    /// The VM that is to move has crashed here: there is nothing to hand over.
    case failHandOver(SwitchID)
    /// Start a QEMU that waits for device state.
    case prepare
    /// End a QEMU that waits and isn't needed.
    case discard
    case announceReady(SwitchID)
    case refuse(SwitchID, Reason)
    /// Run the VM here, from the head.
    case goActive
    /// The VM runs here, and the server doesn't know yet that the switch has come to its end.
    case confirmArrival(SwitchID)
    /// The lease is elsewhere: pause the guest here at once, and keep what it did.
    case stepDown
    /// What was done here since is a fork; this device follows again.
    case keepLateWork
}

extension DeviceSituation {
    /// Decides, in the order of the project's goals: never lose state, never run twice, switch fast, send little.
    package var nextAction: DeviceAction {
        guard let server else { return .wait }
        if isFenced { return .keepLateWork }
        if machine == .held || isDeparting { return .settleDeparture }
        return server.holder == me ? asHolder(server) : asStandby(server)
    }

    private func asHolder(_ server: Server) -> DeviceAction {
        if isHandedHere, machine == .none || machine == .waiting { return .goActive }
        // The lease went elsewhere and came back while nothing was heard of it: that of the guest here has ended.
        if machine == .running || machine == .shutDown, let tenure, tenure != server.epoch { return .stepDown }
        if machine == .running, let capProblem, let pending = server.pendingSwitch, pending.isLeaving(me) {
            return .declineHandOver(pending.id, Reason(capProblem))
        }
        if let oldest = outbox.first {
            // What was made under another epoch is fenced, whoever holds the lease now.
            let isFenced = outboxEpoch.map { $0 != server.epoch } ?? false
            return oldest <= server.head || isFenced ? .drop(oldest) : withOutbox
        }
        // It is told before the first upload; of an outbox that a power loss has taken nothing else would tell it.
        if isHandoverUntold, !serverTakesNothing { return .upload }
        switch machine {
        case .running:
            return whileRunning(server)
        case .shutDown:
            return isHeldBack ? .wait : .sealOff
        case .none, .waiting, .died, .held:
            // A switch that moved the lease here must be finished, also by a daemon that was restarted meanwhile.
            let isArriving = server.pendingSwitch?.isArriving(at: me) ?? false
            guard isArriving || startWanted else { return withoutMachine(server) }
            return catchUp(server) ?? .goActive
        }
    }

    private var withOutbox: DeviceAction {
        // More than the oldest and the one that all others are merged into: they could not be merged any more.
        let hasRoom = outbox.count <= outboxMax
        if serverTakesNothing || isHeldBack, checkpointIsDue, hasRoom, machine == .running { return .keep }
        return isHeldBack ? .wait : .upload
    }

    private func withoutMachine(_ server: Server) -> DeviceAction {
        guard let pending = server.pendingSwitch, pending.isLeaving(me) else { return .wait }
        return .failHandOver(pending.id)
    }

    private func whileRunning(_ server: Server) -> DeviceAction {
        if let pending = server.pendingSwitch, pending.isArriving(at: me) {
            return .confirmArrival(pending.id)
        }
        if let pending = server.pendingSwitch, pending.awaitsShutdown(on: me) {
            switch shutdown {
            case .notAsked: return .shutDownGuest(pending.id)
            case .asked: break
            case .overdue: return .declineHandOver(pending.id, Reason(Self.noShutdown))
            }
        } else if let pending = server.pendingSwitch, pending.from == me, pending.state == .ready {
            switch approach {
            case .lastCheckpoint: return .handOver(pending.id)
            case .anotherRound: return .checkpoint
            // A target that says no more is not waited for longer than until the next checkpoint is due.
            case .wait: break
            }
        }
        guard checkpointIsDue else { return .wait }
        return isHeldBack ? .keep : .checkpoint
    }

    private static let noShutdown = VMSyncError(
        .timeout, "the guest doesn't shut down",
        hint: "shut it down there yourself, or: vmsync stop NAME --force; then start it here")

    private func asStandby(_ server: Server) -> DeviceAction {
        if machine == .running || machine == .shutDown { return .stepDown }
        if let oldest = outbox.first, !isShared(server) {
            // Commits are accepted in order and only from the holder: what wasn't accepted by now never will be.
            return .drop(oldest)
        }
        if let step = refusal(server) { return step }
        if let step = outbox.isEmpty ? catchUp(server) : nil {
            let isFetch = step == .applyNext || step == .fetchBase
            return isFetch && isHeldBack ? .wait : step
        }
        // It boots there: no QEMU has to wait for a state.
        if let pending = server.pendingSwitch, pending.isCold, pending.to == me, pending.state == .requested {
            return .announceReady(pending.id)
        }
        let isAwaited = server.head > .base && server.headKind == .live
        if machine == .none || machine == .died { return isAwaited && obstacle == nil ? .prepare : .wait }
        if !isAwaited { return .discard }
        // What only the holder and this device have, the server must have first.
        if let pending = server.pendingSwitch, pending.to == me, pending.state == .requested, outbox.isEmpty {
            return .announceReady(pending.id)
        }
        return .wait
    }

    /// Whether what lies in the outbox is the holder's too, over a direct link, and the holder has yet to save it.
    private func isShared(_ server: Server) -> Bool {
        guard let oldest = outbox.first, server.holder != nil else { return false }
        return outboxEpoch?.leads(to: server.epoch) ?? false && oldest > server.head
    }

    private func refusal(_ server: Server) -> DeviceAction? {
        guard let pending = server.pendingSwitch, pending.to == me, pending.state == .requested,
            let reason = (pending.isCold ? coldObstacle : obstacle) ?? capProblem
        else { return nil }
        return .refuse(pending.id, Reason(reason))
    }

    /// What brings the replica to the head; nil if it is there.
    private func catchUp(_ server: Server) -> DeviceAction? {
        guard hasBase else { return .fetchBase }
        guard let replica, replica <= server.head else { return machine == .waiting ? .discard : .rebuild }
        return replica < server.head ? .applyNext : nil
    }
}
