import Foundation
import Testing
import VMSyncCore
import VMSyncSecrets

@Suite("What a revoked device can still read") struct RevocationTests {
    @Test("what is written after a revocation needs a key that the revoked device doesn't have") func rotation() throws
    {
        let (laptop, lost) = (try DeviceKeys(now: 1_700_000_000), try DeviceKeys(now: 1_700_000_000))
        let recovery = try RecoveryKey.random()
        var roster = Roster()
        try roster.take(try Roster.founding(by: laptop, recovery: recovery.identity))
        try roster.take(try roster.entry(.admit(lost.identity), by: laptop))
        let vm = VMID.random()
        let first = SubjectKey.random(generation: 1)
        let known = try KeyGrant(first, of: .vm(vm), to: lost.identity, by: laptop).open(by: lost, roster)
        let minimum = KeyMinimum(subject: .vm(vm), generation: 2)
        try roster.take(try roster.entry(.revoke(lost.id, heads: [:], keys: [minimum]), by: laptop))
        #expect(roster.keyMinimums == [.vm(vm): 2], "nobody writes with the first key any more")
        let next = SubjectKey.random(generation: 2)
        let grants = try roster.members.values.map { try KeyGrant(next, of: .vm(vm), to: $0, by: laptop) }
        #expect(grants.map(\.recipient) == [.device(laptop.id)])
        let pack = StreamPurpose.pack(vm, Sequence(rawValue: 9))
        let written = try [UInt8](repeating: 7, count: 100).withRawBytes { bytes throws(VMSyncError) in
            try StreamEncryptor.encrypt(bytes, with: next, pack, salt: StreamEncryptor.randomSalt())
        }
        func read(_ bytes: [UInt8], with key: SubjectKey) throws -> [UInt8] {
            try bytes.withRawBytes { bytes throws(VMSyncError) in try StreamDecryptor.open(bytes, with: key, pack) }
        }
        #expect(try read(written, with: next).count == 100)
        #expect(throws: VMSyncError.self) { try read(written, with: known) }
        // Nor by saying that it is of the generation that it has.
        var relabelled = written
        relabelled[8] = 1
        #expect(throws: VMSyncError.self) { try read(relabelled, with: known) }
        // And what it grants is taken by nobody.
        let own = try KeyGrant(SubjectKey.random(generation: 3), of: .vm(vm), to: laptop.identity, by: lost)
        #expect(throws: VMSyncError.self) { try own.open(by: laptop, roster) }
    }
}
