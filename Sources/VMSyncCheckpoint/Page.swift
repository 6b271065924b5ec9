import VMSyncCore

/// Keeps the pages of a merge outside of memory: of a desktop they are more than a device wants to have there.
package protocol PageStore: AnyObject {
    /// - Returns: the number of the page.
    /// - Throws: `noSpace`.
    func append(_ page: UnsafeRawBufferPointer) throws(VMSyncError) -> Int

    /// What was put in; lives as long as the store.
    func page(_ number: Int) -> UnsafeRawBufferPointer
}

/// 4096 bytes of a merge: by themselves, or in a store.
package struct Page: Equatable {
    private enum Place {
        case here([UInt8])
        case store(any PageStore, Int)
    }
    private let place: Place

    package init(_ bytes: [UInt8]) { place = .here(bytes) }

    init(_ bytes: UnsafeRawBufferPointer, in store: (any PageStore)?) throws(VMSyncError) {
        place = if let store { .store(store, try store.append(bytes)) } else { .here(Array(bytes)) }
    }

    package func withBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        switch place {
        case .here(let bytes): try bytes.withRawBytes(body)
        case .store(let store, let number): try body(store.page(number))
        }
    }

    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        switch place {
        case .here(let bytes): bytes.withUnsafeBytes(body)
        case .store(let store, let number): body(store.page(number))
        }
    }

    package static func == (left: Page, right: Page) -> Bool {
        left.withBytes { left in right.withBytes { right in left.elementsEqual(right) } }
    }
}
