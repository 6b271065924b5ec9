/// All that a simulated guest consists of: the first four registers are its memory, the others its disk. Each write puts
/// the number of that write into a register, so no two writes leave the same state.
typealias Registers = SIMD8<UInt32>

extension Registers {
    static let memoryLanes = SIMDMask<SIMD8<Int32>>(
        arrayLiteral: true, true, true, true, false, false, false, false)

    /// What is left when memory is gone.
    var diskOnly: Registers { replacing(with: 0, where: Self.memoryLanes) }

    /// Whether the disk is as in `other`.
    func hasDisk(of other: Registers) -> Bool { diskOnly == other.diskOnly }
}

/// The registers that differ from those of a parent, and what a replica is compared with after it.
struct Pack {
    let changed: SIMDMask<SIMD8<Int32>>
    let values: Registers
    /// All registers before; stands for the digest of the parent.
    let parentDigest: Registers
    /// All registers afterwards; stands for the digest.
    let digest: Registers

    init(from parent: Registers, to state: Registers) {
        changed = parent .!= state
        values = state
        parentDigest = parent
        digest = state
    }

    private init(changed: SIMDMask<SIMD8<Int32>>, values: Registers, parentDigest: Registers, digest: Registers) {
        self.changed = changed
        self.values = values
        self.parentDigest = parentDigest
        self.digest = digest
    }

    func apply(to state: Registers) -> Registers { state.replacing(with: values, where: changed) }

    /// The pack that does what this one and then `later` do.
    func merged(with later: Pack) -> Pack {
        Pack(
            changed: changed .| later.changed, values: values.replacing(with: later.values, where: later.changed),
            parentDigest: parentDigest, digest: later.digest)
    }
}

/// All that guests have ever written in a history, as a tree: each write follows what its guest had written before. Only
/// the invariants look at it; it says what must be contained in what.
struct WorkTree {
    private struct Write {
        let parent: Int32
        let depth: Int32
        let state: Registers
    }

    /// The base image, in which nothing was written.
    static let base: Int32 = 0
    private var writes = [Write(parent: -1, depth: 0, state: .zero)]

    mutating func reset() { writes.removeSubrange(1...) }

    func state(_ work: Int32) -> Registers { writes[Int(work)].state }

    /// The guest goes on from `work` to `change` of its state; the number of this write is given.
    mutating func write(after work: Int32, _ change: (inout Registers, UInt32) -> Void) -> Int32 {
        let number = Int32(writes.count)
        let before = writes[Int(work)]
        var state = before.state
        change(&state, UInt32(number))
        writes.append(Write(parent: work, depth: before.depth + 1, state: state))
        return number
    }

    /// The same as `contains`, quicker where `later` has come not far from `known`, of which it is known already.
    func contains(_ later: Int32, _ earlier: Int32, knowing known: Int32) -> Bool {
        contains(later, known) || contains(later, earlier)
    }

    /// Whether who has done `later` has done `earlier` before, or it is the same.
    func contains(_ later: Int32, _ earlier: Int32) -> Bool {
        let depth = writes[Int(earlier)].depth
        var work = later
        while writes[Int(work)].depth > depth { work = writes[Int(work)].parent }
        return work == earlier
    }
}
