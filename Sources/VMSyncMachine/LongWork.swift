import NIOPosix

/// Threads for what takes long, or waits for a guest: the pool that everybody shares serves the disks of running guests.
package enum LongWork {
    /// One that merges, and one that waits.
    private static let threads = 2

    package static let pool: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
        return pool
    }()
}
