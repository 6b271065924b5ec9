/// What a connection accepts at most, so that no peer can make it grow without bound.
package enum QMPLimits {
    /// Longest line taken from the peer, in bytes. `query-cpu-definitions` is 35 KB in QEMU 7.2, and a QMP schema
    /// about 1 MB: 16 MiB leaves room for any later QEMU.
    package static let lineBytesMax = 16 << 20

    /// Most commands in flight. QEMU itself stops reading after 8, so a longer queue only hides that it hangs.
    package static let pendingMax = 64

    /// Most events that wait for one subscriber. QEMU sends a handful per second at most; who is 1024 behind is stuck.
    package static let eventsMax = 1024

    /// Time for connecting, greeting and negotiation together. A QEMU that starts on a busy host needs a second.
    package static let connectTimeout = Duration.seconds(5)

    /// Time for an answer. All commands here answer at once and report the rest by events.
    package static let answerTimeout = Duration.seconds(10)
}
