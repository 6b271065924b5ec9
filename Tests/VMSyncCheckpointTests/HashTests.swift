import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

@Suite("Hashes and digests")
struct HashTests {
    @Test("a page counts as zero only if every byte is")
    func zero() {
        var page = [UInt8](repeating: 0, count: Unit.size)
        #expect(page.withUnsafeBytes { isZero($0) })
        for index in page.indices {
            page[index] = 1
            #expect(!page.withUnsafeBytes { isZero($0) })
            page[index] = 0
        }
    }

    /// The values are those of `xxhsum -H2` of the bytes: XXH3-128 without a seed.
    @Test("hash like the reference program")
    func reference() {
        #expect([UInt8]().withUnsafeBytes { Hash128(of: $0) }.description == "99aa06d3014798d86001c324468d497f")
        #expect(Array("abc".utf8).withUnsafeBytes { Hash128(of: $0) }.description == "06b05ab6733a618578af5f94892f3950")
    }

    @Test("the place of a page is in its hash, unless it is zero")
    func place() {
        let page = [UInt8](repeating: 7, count: Unit.size)
        let zeros = [UInt8](repeating: 0, count: Unit.size)
        page.withUnsafeBytes { #expect(UnitHash.memory(1, $0) != UnitHash.memory(2, $0)) }
        zeros.withUnsafeBytes { zeros in
            #expect(UnitHash.memory(1, zeros) == .zero)
            #expect(UnitHash.block(1, zeros) == UnitHash.zeroBlock(1))
            #expect(UnitHash.zeroBlock(1) != UnitHash.zeroBlock(2))
            #expect(UnitHash.zeroBlock(1) != .zero)
        }
    }

    @Test("text gives the number back", arguments: [0, 1, UInt128.max, UInt128(1) << 64])
    func text(value: UInt128) throws {
        let hash = Hash128(value: value)
        #expect(hash.description.count == 32)
        #expect(Hash128(hexadecimal: hash.description) == hash)
        #expect(try JSONDecoder().decode(Hash128.self, from: JSONEncoder().encode(hash)) == hash)
    }

    @Test(
        "other text is no hash",
        arguments: [
            "", "0", String(repeating: "0", count: 31), String(repeating: "0", count: 33),
            "+" + String(repeating: "0", count: 31), "-" + String(repeating: "0", count: 31),
            String(repeating: "g", count: 32),
        ])
    func notHexadecimal(text: String) { #expect(Hash128(hexadecimal: text) == nil) }

    @Test("each part of the state is in the digest")
    func parts() {
        let one = Hash128(value: 1)
        let digests = [
            StateDigest.base(disks: 1), StateDigest.base(disks: 2),
            StateDigest(memory: one, disks: [.zero], deviceState: .zero),
            StateDigest(memory: .zero, disks: [one], deviceState: .zero),
            StateDigest(memory: .zero, disks: [.zero], deviceState: one),
            StateDigest(memory: .zero, disks: [one, .zero], deviceState: .zero),
            StateDigest(memory: .zero, disks: [.zero, one], deviceState: .zero),
        ]
        #expect(Set(digests.map(\.combined)).count == digests.count)
    }
}
