import HostSignals
import Synchronization

/// Clocks of a host that slept as long as the test says.
final class TestClocks: Sendable {
    private let slept = Mutex(Duration.zero)

    func sleep(_ time: Duration) { slept.withLock { $0 += time } }

    var now: HostClocks {
        let awake = HostClocks.now().awake
        return HostClocks(awake: awake, all: awake + slept.withLock { $0 })
    }
}
