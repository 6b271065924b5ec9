import CVMSyncLinux

/// The C library's heap.
enum Heap {
    /// The GNU C library raises this by itself, up to 32 MiB, and then keeps for each thread what was freed: 120 MB more
    /// were seen of a process that makes a checkpoint of a desktop each second. To touch the buffers of a checkpoint anew
    /// takes about a twentieth of the time that encoding a large one does, and more of a small one: 2.7 ms for 3.4 MB.
    private static let largeBlock = 1 << 20

    /// From here on blocks of a mebibyte and more go back to the host when they are freed. Called once, by `main`.
    static func giveLargeBlocksBack() { cvmsync_give_back_blocks_from(largeBlock) }
}
