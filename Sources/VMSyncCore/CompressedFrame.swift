/// What one frame of zstd took: by it the writer of a pack says how it went, and the policy plans the next.
package struct CompressedFrame: Sendable, Hashable {
    /// zstd's level.
    package var level: Int32
    /// Bytes before.
    package var raw: Int
    /// Bytes after.
    package var stored: Int
    /// By the writer's clock.
    package var seconds: Double

    package init(level: Int32, raw: Int, stored: Int, seconds: Double) {
        self.level = level
        self.raw = raw
        self.stored = stored
        self.seconds = seconds
    }
}
