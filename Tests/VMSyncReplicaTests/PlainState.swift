import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// A VM's memory and disks in plain arrays, and what a pack makes of them: the oracle beside a replica.
struct PlainState: Equatable, CustomStringConvertible, CustomReflectable {
    /// Short, for the report of an expectation.
    var description: String { digest(deviceState: []).combined.description }
    var customMirror: Mirror { Mirror(self, children: []) }

    var memory: [UInt8]
    /// Whole units: the last one is padded with zeros.
    var disks: [[UInt8]]
    /// Of each disk, the blocks that aren't the base's.
    var present: [Set<Int>]

    init(_ device: TestDevice) throws {
        memory = [UInt8](try Data(contentsOf: URL(fileURLWithPath: device.paths.ram)))
        disks = []
        present = []
        for (number, disk) in device.replica.overlays.enumerated() {
            let bytes = try device.readDisk(number)
            let padding = Unit.count(ofBytes: disk.size) * Unit.size - bytes.count
            disks.append(bytes + [UInt8](repeating: 0, count: padding))
            var blocks: Set<Int> = []
            disk.forEachPresentBlock { block, _ in blocks.insert(Int(block)) }
            present.append(blocks)
        }
    }

    /// What `content` makes of this state. Every value speaks of this state or of `base`.
    func followed(by content: PackContent, base: [UInt8]) -> PlainState {
        var next = self
        if content.clearsMemory { next.memory = [UInt8](repeating: 0, count: memory.count) }
        for (unit, value) in content.values {
            var bytes: [UInt8]
            switch value.source {
            case .zero: bytes = [UInt8](repeating: 0, count: Unit.size)
            case .whole(let page): bytes = page.withBytes { Array($0) }
            case .base(_, let block): bytes = Self.unit(block, of: base)
            case .parent(let source): bytes = self.unit(source)
            }
            value.patch?.apply(to: &bytes)
            next.put(bytes, at: unit)
        }
        return next
    }

    func unit(_ id: UnitID) -> [UInt8] {
        switch id.space {
        case .memory: Self.unit(id.index, of: memory)
        case .disk(let disk): Self.unit(id.index, of: disks[disk])
        }
    }

    private static func unit(_ index: Int, of bytes: [UInt8]) -> [UInt8] {
        let unit = Array(bytes.dropFirst(index * Unit.size).prefix(Unit.size))
        return unit + [UInt8](repeating: 0, count: Unit.size - unit.count)
    }

    private mutating func put(_ bytes: [UInt8], at unit: UnitID) {
        let range = unit.index * Unit.size..<(unit.index + 1) * Unit.size
        switch unit.space {
        case .memory: memory.replaceSubrange(range, with: bytes)
        case .disk(let disk):
            disks[disk].replaceSubrange(range, with: bytes)
            present[disk].insert(unit.index)
            // Behind the end of the disk there is nothing.
            let end = Int(TestDevice.definition.disks[disk].size)
            if range.upperBound > end {
                disks[disk].replaceSubrange(end..., with: [UInt8](repeating: 0, count: range.upperBound - end))
            }
        }
    }

    func digest(deviceState: [UInt8]) -> StateDigest {
        let pages = memory.count / Unit.size
        return StateDigest(
            memory: sum(0..<pages, of: memory, UnitHash.page),
            disks: disks.indices.map { sum(present[$0].sorted(), of: disks[$0], UnitHash.block) },
            deviceState: deviceState.isEmpty ? .zero : deviceState.withRawBytes { Hash128(of: $0) })
    }

    private func sum(
        _ units: some Swift.Sequence<Int>, of bytes: [UInt8], _ hash: (UnsafeRawBufferPointer) -> Hash128
    ) -> Hash128 {
        bytes.withUnsafeBytes { bytes in
            var sum = Hash128.zero
            for unit in units {
                let content = hash(UnsafeRawBufferPointer(rebasing: bytes[unit * Unit.size..<(unit + 1) * Unit.size]))
                sum.value &+= UnitHash.placed(content, at: unit).value
            }
            return sum
        }
    }
}
