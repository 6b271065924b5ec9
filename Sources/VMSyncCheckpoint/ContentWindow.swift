/// What the memory sections of a pack carried last: the device state is compressed against it, because a display's frame
/// buffer is in the one and the guest's own copy of the picture in the other (docs/format/checkpoint.md, "Layout").
struct ContentWindow {
    private var ring: [UInt8] = []
    /// Where the oldest byte stands once the ring is full.
    private var oldest = 0

    /// Takes in what a record of memory carries.
    mutating func append(_ value: UnitValue) {
        if case .whole(let page) = value.source { append(page) } else { append(value.runs.bytes) }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) {
        // All of it at once, for growing means copying; what isn't used takes no memory.
        if ring.capacity == 0 { ring.reserveCapacity(Limits.contentWindow) }
        let fitting = min(bytes.count, Limits.contentWindow - ring.count)
        ring.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[..<fitting]))
        var rest = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(fitting))
        while !rest.isEmpty {
            let count = min(rest.count, ring.count - oldest)
            ring.withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[oldest..<oldest + count])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
            }
            oldest = (oldest + count) % ring.count
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Empties the window; its memory stays for the next pack.
    mutating func removeAll() {
        ring.removeAll(keepingCapacity: true)
        oldest = 0
    }

    /// What it holds, oldest first.
    var content: [UInt8] { oldest == 0 ? ring : prefix(after: UnsafeRawBufferPointer(start: nil, count: 0)) }

    /// The prefix of a device state: that of the parent, then the window.
    func prefix(after parent: UnsafeRawBufferPointer) -> [UInt8] {
        var prefix: [UInt8] = []
        prefix.reserveCapacity(parent.count + ring.count)
        prefix.append(contentsOf: parent)
        prefix.append(contentsOf: ring[oldest...])
        prefix.append(contentsOf: ring[..<oldest])
        return prefix
    }
}
