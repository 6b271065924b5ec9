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

    @Test("a page of zeros counts nothing, a present block of zeros does")
    func content() {
        let page = [UInt8](repeating: 7, count: Unit.size)
        let zeros = [UInt8](repeating: 0, count: Unit.size)
        #expect(zeros.withUnsafeBytes { UnitHash.page($0) } == .zero)
        #expect(zeros.withUnsafeBytes { UnitHash.block($0) } == UnitHash.zeroBlock)
        #expect(UnitHash.zeroBlock == zeros.withUnsafeBytes { Hash128(of: $0) })
        #expect(page.withUnsafeBytes { UnitHash.page($0) } == page.withUnsafeBytes { UnitHash.block($0) })
        #expect(page.withUnsafeBytes { UnitHash.page($0) } == page.withUnsafeBytes { Hash128(of: $0) })
    }

    /// Computed from the formula of the document in another language.
    @Test(
        "the place is put into a hash as the document says",
        arguments: [
            (0, "00000000000000000000000000000001", "17fb89ee35ed72b00ae4a421dc0f08bd"),
            (1, "00000000000000000000000000000001", "e7d92ae11f257bd822054d51c1ecd97c"),
            (7, "0123456789abcdef0011223344556677", "89e3e7722ed6b50ef506dd6494a8010d"),
            (268_435_455, "ffffffffffffffffffffffffffffffff", "f358feba480ef8f7b70c606e95ad0799"),
            (4_294_967_295, "00000000000000010000000000000000", "baf73f466c11368972877c5e6c6025c8"),
        ])
    func placed(index: Int, content: String, placed: String) throws {
        let hash = try #require(Hash128(hexadecimal: content))
        #expect(UnitHash.placed(hash, at: index).description == placed)
        #expect(UnitHash.placed(.zero, at: index) == .zero)
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
