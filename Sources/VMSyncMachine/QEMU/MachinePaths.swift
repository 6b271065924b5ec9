import VMSyncCore

/// Where the files and sockets of one VM on one device stand.
package struct MachinePaths: Sendable, Hashable {
    /// What survives a power loss: disks, logs, records.
    package let state: String
    /// Unix sockets and the pid file. Short, because a socket's path has at most 107 bytes.
    package let run: String
    /// Guest RAM and its hashes: a tmpfs, gone after a reboot.
    package let memory: String

    package init(state: String, run: String, memory: String) {
        self.state = state
        self.run = run
        self.memory = memory
    }

    package var qmp: String { run + "/qmp" }
    package var vnc: String { run + "/vnc" }
    package var console: String { run + "/console" }
    package var disks: String { run + "/disks" }
    package var agent: String { run + "/agent" }
    package var stateOut: String { run + "/state-out" }
    package var stateIn: String { run + "/state-in" }
    /// Pictures of the guest's screen, while they are drawn.
    package static let screenPrefix = "screen-"
    package var pidFile: String { run + "/pid" }
    package var ram: String { memory + "/ram" }
    package var ramHashes: String { memory + "/ram.hashes" }
    package var ramwatchReport: String { memory + "/ramwatch" }
    package var consoleLog: String { state + "/console.log" }
    package var qemuLog: String { state + "/qemu.log" }
    package func disk(_ index: Int) -> String { state + "/disk\(index)" }
    package static func exportName(_ disk: Int) -> String { "disk\(disk)" }
}

extension MachinePaths {
    /// Which checkpoint the replica holds.
    package var record: String { state + "/replica.json" }
    /// Checkpoints sealed here that the server has not acknowledged.
    package var outbox: String { state + "/outbox" }
    /// Checkpoints sealed here that the VM went on without.
    package var forks: String { state + "/forks" }
    /// What the next spans of the VM's history are made with.
    package var history: String { state + "/history" }
    /// Packs fetched and not yet applied whole.
    package var inbox: String { state + "/inbox" }
    /// Device state of checkpoint `sequence`; worth nothing without the RAM, so it lies beside it. Each checkpoint has a
    /// file of its own, so that the one that the record names is always there.
    package func deviceState(_ sequence: Sequence) -> String { memory + "/" + Self.deviceStateName(sequence) }
    package static func deviceStateName(_ sequence: Sequence) -> String { deviceStatePrefix + sequence.description }
    package static let deviceStatePrefix = "device-state."
    /// What a pack that is being applied both uses and changes.
    package var stash: String { memory + "/stash" }
    package func diskHashes(_ index: Int) -> String { disk(index) + "/hashes" }
}
