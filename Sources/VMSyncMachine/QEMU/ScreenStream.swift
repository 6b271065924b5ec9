import VMSyncCheckpoint
import VMSyncCore

/// A device state that is given to a waiting QEMU in pieces: its screen beforehand, as often as it changes, and in the
/// end only what is left. To QEMU it looks like a migration in which the screen is sent in several rounds.
package struct ScreenStream: Sendable {
    private let state: [UInt8]
    private let screen: ScreenPages
    /// All before the pages: the state's head, and the list of memory blocks.
    private let head: Range<Int>
    /// All behind the memory: the devices.
    private let devices: Range<Int>

    /// Nil if the state isn't laid out as expected: then it must be given as it is.
    package init?(_ state: [UInt8]) {
        screen = state.withRawBytes { ScreenPages($0) }
        guard let first = screen.parts.first, let last = screen.parts.last, first.pages.isEmpty,
            state[last.bytes.lowerBound] == ScreenPages.Section.end
        else { return nil }
        self.state = state
        head = 0..<first.bytes.upperBound
        devices = last.bytes.upperBound..<state.count
    }

    /// Whether this can follow `earlier` in one stream: of the same machine, and with the same pages, so that none is
    /// left as it was.
    package func continues(_ earlier: ScreenStream) -> Bool {
        state[head] == earlier.state[earlier.head] && screen.blocks == earlier.screen.blocks
            && Set(screen.pages.map(\.place)) == Set(earlier.screen.pages.map(\.place))
    }

    /// What a stream begins with: the head and the whole screen.
    package var opening: [UInt8] { state[head] + part(ScreenPages.Section.part, screen.pages) }

    /// The screen's pages that are others than in `earlier`, which this continues.
    package func changes(since earlier: ScreenStream) -> [UInt8] {
        var known: [Int: ScreenPages.Page] = [:]
        for page in earlier.screen.pages { known[page.place] = page }
        let changed = screen.pages.filter { page in !(known[page.place].map { isSame(page, $0, in: earlier) } ?? false)
        }
        return changed.isEmpty ? [] : part(ScreenPages.Section.part, changed)
    }

    /// What a stream ends with, when the screen is all there.
    package var ending: [UInt8] { part(ScreenPages.Section.end, []) + state[devices] }

    private func isSame(_ page: ScreenPages.Page, _ old: ScreenPages.Page, in earlier: ScreenStream) -> Bool {
        guard let new = page.content, let old = old.content else { return page.content == old.content }
        return state.withRawBytes { state in
            earlier.state.withRawBytes { earlier in
                UnsafeRawBufferPointer(rebasing: state[new]).holdsSame(
                    as: UnsafeRawBufferPointer(rebasing: earlier[old]))
            }
        }
    }

    private func part(_ kind: UInt8, _ pages: [ScreenPages.Page]) -> [UInt8] {
        let number = withUnsafeBytes(of: UInt32(truncatingIfNeeded: screen.section).bigEndian) { Array($0) }
        var part = [kind] + number
        part.reserveCapacity(part.count + pages.count * (Unit.size + 16) + 16)
        state.withRawBytes { state in
            var block: Int?
            for page in pages {
                screen.append(page, of: state, after: block, to: &part)
                block = page.block
            }
        }
        withUnsafeBytes(of: ScreenPages.Flag.end.bigEndian) { part += $0 }
        return part + [ScreenPages.Section.footer] + number
    }
}
