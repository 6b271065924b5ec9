/// How far a long step is.
package struct StepProgress: Sendable, Codable, Hashable {
    /// What is being done, as a person says it: "uploading the base image".
    package var step: String
    /// Bytes.
    package var done: UInt64
    /// Bytes; 0 if it isn't known.
    package var total: UInt64
    package var bytesPerSecond: Double?
    package var secondsLeft: Double?

    package init(
        step: String, done: UInt64 = 0, total: UInt64 = 0, bytesPerSecond: Double? = nil, secondsLeft: Double? = nil
    ) {
        self.step = step
        self.done = done
        self.total = total
        self.bytesPerSecond = bytesPerSecond
        self.secondsLeft = secondsLeft
    }

    enum CodingKeys: String, CodingKey {
        case step, done, total
        case bytesPerSecond = "bytes_per_second"
        case secondsLeft = "seconds_left"
    }
}
