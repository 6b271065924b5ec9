/// What a host says of itself at one moment.
package struct HostSignals: Sendable, Equatable {
    package let power: Reading<HostPower>
    package let load: Reading<HostLoad>
    package let network: HostNetwork
    /// How long the host would wait for us before it sleeps.
    package let sleepDelay: Reading<Duration>

    package init(
        power: Reading<HostPower>, load: Reading<HostLoad>, network: HostNetwork, sleepDelay: Reading<Duration>
    ) {
        self.power = power
        self.load = load
        self.network = network
        self.sleepDelay = sleepDelay
    }
}
