/// Pauses the guest. Answered when it is paused and its disks are flushed.
package struct QMPStop: QMPCommand {
    package static let name = "stop"
    package init() {}
}

/// Lets the guest run. While a migration comes in, it will run once that is complete.
package struct QMPContinue: QMPCommand {
    package static let name = "cont"
    package init() {}
}

/// Ends QEMU. Expect the connection to end, maybe before the answer.
package struct QMPQuit: QMPCommand {
    package static let name = "quit"
    package init() {}
}

/// Presses the guest's power button; whether the guest obeys is its affair.
package struct QMPSystemPowerdown: QMPCommand {
    package static let name = "system_powerdown"
    package init() {}
}

/// Presses the guest's reset button.
package struct QMPSystemReset: QMPCommand {
    package static let name = "system_reset"
    package init() {}
}

/// Asks what the guest does.
package struct QMPQueryStatus: QMPCommand {
    package static let name = "query-status"
    package init() {}

    /// What the guest does, short and at length.
    package struct Response: Decodable, Sendable {
        /// Whether virtual CPUs run.
        package let running: Bool
        package let status: QMPRunState
    }
}
