/// Asks for QEMU's version.
package struct QMPQueryVersion: QMPCommand {
    package static let name = "query-version"
    package typealias Response = QMPVersion
    package init() {}
}

/// Asks whether this QEMU knows KVM, and uses it.
package struct QMPQueryKVM: QMPCommand {
    package static let name = "query-kvm"
    package init() {}

    /// How this QEMU stands to KVM.
    package struct Response: Decodable, Sendable {
        /// Whether the guest runs under it.
        package let enabled: Bool
        /// Whether QEMU was built with it; says nothing about the host.
        package let present: Bool
    }
}

/// Asks which machine types this QEMU has.
package struct QMPQueryMachines: QMPCommand {
    package static let name = "query-machines"
    package typealias Response = [Machine]
    package init() {}

    /// A machine type, such as `pc-q35-7.2`.
    package struct Machine: Decodable, Sendable {
        package let name: String
        /// Another name for the newest of its family, such as `q35`.
        package let alias: String?
        package let deprecated: Bool
        /// Most virtual CPUs.
        package let cpuMax: Int

        private enum CodingKeys: String, CodingKey {
            case name, alias, deprecated
            case cpuMax = "cpu-max"
        }
    }
}

/// Asks which CPU models this QEMU has, and which this host can run. Needs a machine other than `none` for an answer
/// about the host.
package struct QMPQueryCPUDefinitions: QMPCommand {
    package static let name = "query-cpu-definitions"
    package typealias Response = [CPU]
    package init() {}

    /// A CPU model, such as `Skylake-Client-v4`.
    package struct CPU: Decodable, Sendable {
        package let name: String
        /// Whether a guest may move between hosts with it; nil if QEMU doesn't know.
        package let migrationSafe: Bool?
        /// What the model has and this host can't give; empty if it can run, nil if QEMU doesn't know.
        package let unavailableFeatures: [String]?
        /// The versioned model for which an unversioned name stands on this machine type.
        package let aliasOf: String?

        private enum CodingKeys: String, CodingKey {
            case name
            case migrationSafe = "migration-safe"
            case unavailableFeatures = "unavailable-features"
            case aliasOf = "alias-of"
        }
    }
}

/// Asks for the named nodes of the block layer.
package struct QMPQueryNamedBlockNodes: QMPCommand {
    package static let name = "query-named-block-nodes"
    package typealias Response = [Node]
    /// Leaves out the backing files of each node, which would repeat much.
    private let flat = true
    package init() {}

    /// A node of the block layer.
    package struct Node: Decodable, Sendable {
        package let name: String

        private enum CodingKeys: String, CodingKey {
            case name = "node-name"
        }
    }
}

/// Types `line` into the human monitor, for what QMP lacks; the answer is text for people, and errors are in it too.
package struct QMPHumanMonitorCommand: QMPCommand {
    package static let name = "human-monitor-command"
    package typealias Response = String
    private let line: String
    package init(_ line: String) { self.line = line }

    private enum CodingKeys: String, CodingKey {
        case line = "command-line"
    }
}
