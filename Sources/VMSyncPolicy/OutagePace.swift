/// How often a device makes checkpoints that it can't send, because the server is away. They are for a QEMU that
/// crashes meanwhile; the tracker gathers what the guest writes in any case.
package enum OutagePace {
    /// In usual intervals: 10 s of work at one checkpoint a second, as much as a person does again without much ado.
    private static let intervals = 10
    /// A checkpoint and its merge take at most one part in so many of the processor.
    private static let share = 20

    /// From the end of one such checkpoint, or of the first that could not be sent, until the next.
    /// - Parameter took: making and merging the last one.
    package static func rest(after took: Duration, interval: Duration) -> Duration {
        max(interval * intervals, took * share)
    }
}
