import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica

/// A unit of the state for the accounts: the screen's memory counts like the guest's own.
enum CountedUnit: Hashable {
    case memory(Int)
    case screen(Int)
    case block(disk: Int, Int)
}

/// The whole state of a guest as of the last capture that it was shown. This is what a program would have to keep that
/// sends changed bytes: vmsync doesn't, only its measurement does.
///
/// Must be shown every capture from the guest's first on.
final class StateCopy {
    /// The block of QEMU's memory that holds the screen.
    private static let screenBlock = "vga.vram"

    let memory: GuestMemory
    private var screen: [Int: [UInt8]] = [:]
    private var blocks: [CountedUnit: [UInt8]] = [:]
    private static let zeros = [UInt8](repeating: 0, count: Unit.size)

    /// - Parameter path: of a file that holds the copy of the memory.
    init(path: String, size: UInt64) throws(VMSyncError) { memory = try GuestMemory(path: path, size: size) }

    /// Calls `body` with every unit that was written since the last capture: what it is and what it was; then the copy
    /// has the new content.
    func take(
        _ live: LiveCapture, of replica: Replica,
        _ body: (CountedUnit, _ new: UnsafeRawBufferPointer, _ old: UnsafeRawBufferPointer) -> Void
    ) throws(VMSyncError) {
        try replica.captured.forEach { index, page throws(VMSyncError) in
            body(.memory(index), page, memory.page(index))
            memory.writablePage(index).copyMemory(from: page)
        }
        takeScreen(live.deviceState, body)
        for (disk, frozen) in live.capture.frozen.enumerated() {
            try take(frozen, disk, replica.overlays[disk], body)
        }
    }

    /// QEMU doesn't say which pages of the screen were written: those that changed were, at least.
    private func takeScreen(
        _ state: [UInt8], _ body: (CountedUnit, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) {
        state.withRawBytes { state in
            var last: [Int: Range<Int>?] = [:]
            let found = ScreenPages(state)
            let screens = found.blocks.indices.filter { found.blocks[$0].hasSuffix(Self.screenBlock) }
            for page in found.pages where screens.contains(page.block) {
                last[page.offset / Unit.size] = .some(page.content)
            }
            for (index, content) in last {
                let new = content.map { Array(state[$0]) } ?? Self.zeros
                let old = screen[index] ?? Self.zeros
                guard new != old else { continue }
                new.withRawBytes { new in old.withRawBytes { body(.screen(index), new, $0) } }
                screen[index] = new
            }
        }
    }

    private func take(
        _ frozen: FrozenDisk, _ disk: Int, _ overlay: OverlayDisk,
        _ body: (CountedUnit, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) throws(VMSyncError) {
        for block in frozen.blocks {
            let unit = CountedUnit.block(disk: disk, Int(block.index))
            var new = Self.zeros
            try new.withMutableRawBytes { bytes throws(VMSyncError) in try frozen.read(block, into: bytes) }
            var old = blocks[unit] ?? Self.zeros
            if blocks[unit] == nil {
                try old.withMutableRawBytes { bytes throws(VMSyncError) in
                    try overlay.readBase(block.index, into: bytes)
                }
            }
            new.withRawBytes { new in old.withRawBytes { body(unit, new, $0) } }
            blocks[unit] = new
        }
    }
}

extension UnsafeRawBufferPointer {
    /// How many bytes differ from those of `other`, which is as long; the length is a multiple of 64.
    func bytesDifferent(from other: UnsafeRawBufferPointer) -> Int {
        precondition(count == other.count && count % 64 == 0)
        var different = 0
        for offset in stride(from: 0, to: count, by: 64) {
            let mine = loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
            let theirs = other.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
            if mine == theirs { continue }
            let bits = mine ^ theirs
            // The highest bit of each byte that isn't zero: 0x7F is added to its other seven.
            let seven = SIMD8<UInt64>(repeating: 0x7F7F_7F7F_7F7F_7F7F)
            let marks = ((bits & seven) &+ seven | bits) & ~seven
            for word in 0..<8 { different += marks[word].nonzeroBitCount }
        }
        return different
    }
}
