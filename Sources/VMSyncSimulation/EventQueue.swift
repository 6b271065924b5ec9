/// What happens next, in the order of its time; of two at the same time the one that was planned first.
struct EventQueue<Event> {
    private struct Planned {
        let time: Int
        let order: Int
        let event: Event

        func isBefore(_ other: Planned) -> Bool { time != other.time ? time < other.time : order < other.order }
    }

    private var heap: [Planned] = []
    private var planned = 0

    mutating func reset() {
        heap.removeAll(keepingCapacity: true)
        planned = 0
    }

    /// - Parameter time: milliseconds since the history began.
    mutating func plan(_ event: Event, at time: Int) {
        heap.append(Planned(time: time, order: planned, event: event))
        planned += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func next() -> (time: Int, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return (first.time, first.event)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in 2 * parent + 1...2 * parent + 2 where child < heap.count && heap[child].isBefore(heap[least]) {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}
