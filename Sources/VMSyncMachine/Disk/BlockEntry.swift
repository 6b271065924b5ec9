/// Blocks of a disk: the unit of its map, of its dirty set and of what is sent.
package enum DiskBlock {
    /// In bytes. The size of a page of memory, and of what most guests write at least.
    package static let size = 4096
}

/// Where the content of a block is.
package enum BlockState: UInt8, Sendable, Codable {
    /// In the base image: the VM has never written it.
    case absent = 0
    /// In the overlay.
    case data = 1
    /// Nowhere: it reads as zeros.
    case zero = 2
}

/// What the map knows of one block: 2 bits of state above 62 bits of modification number.
struct BlockEntry: Equatable {
    let rawValue: UInt64
    static let numberMask: UInt64 = (1 << 62) - 1

    init(rawValue: UInt64) { self.rawValue = rawValue }
    init(_ state: BlockState, number: UInt64) { rawValue = UInt64(state.rawValue) << 62 | number }

    /// Bits that no version has written count as absent; `open` refuses such a map.
    var state: BlockState { BlockState(rawValue: UInt8(rawValue >> 62)) ?? .absent }
    var isValid: Bool { rawValue >> 62 <= 2 }
    /// The place of its last change among all changes of this disk. 0 if it has never changed.
    var number: UInt64 { rawValue & Self.numberMask }
}

/// Blocks in a row that have the same state.
struct StateRun: Equatable {
    var first: UInt64
    var count: UInt64
    var state: BlockState

    /// Makes the run longer by `block` if it is the next one in the same state.
    mutating func extend(_ block: UInt64, _ state: BlockState) -> Bool {
        guard state == self.state, block == first + count else { return false }
        count += 1
        return true
    }
}

extension [StateRun] {
    /// Adds one block at the end, to the last run if it belongs there.
    mutating func append(_ block: UInt64, _ state: BlockState) {
        if isEmpty || !self[count - 1].extend(block, state) {
            append(StateRun(first: block, count: 1, state: state))
        }
    }
}
