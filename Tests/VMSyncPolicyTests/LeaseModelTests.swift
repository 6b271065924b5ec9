import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy

/// Devices that do anything at any time, with old epochs, repeated and reordered commits and a clock that jumps.
struct LeaseWorld {
    var random: SeededGenerator
    var state = LeaseState(vm: .random())
    var now = Timestamp(rawValue: 0)
    var history: [Sequence: CheckpointRecord] = [:]
    var offers: [(CommitOffer, DeviceID)] = []
    var grants: [Epoch: DeviceID] = [:]
    let devices = (0..<4).map { _ in DeviceID.random() }

    init(seed: UInt64) { random = SeededGenerator(state: seed) }

    mutating func device() -> DeviceID { devices.randomElement(using: &random) ?? devices[0] }

    mutating func step() throws {
        now = now + .milliseconds(Int.random(in: 0...2000, using: &random))
        state.settle(at: now)
        switch Int.random(in: 0..<10, using: &random) {
        case 0: _ = try state.acquire(by: device())
        case 1: try state.release(by: device(), epoch: someEpoch())
        case 2: _ = try state.requestSwitch(.random(), to: device(), at: now)
        case 3, 4: try answer()
        case 5: if let old = offers.randomElement(using: &random) { try commit(old.0, by: old.1) }
        default: try commit(freshOffer(), by: Bool.random(using: &random) ? state.holder ?? device() : device())
        }
    }

    mutating func someEpoch() -> Epoch {
        Epoch(rawValue: state.epoch.rawValue &- UInt64.random(in: 0...1, using: &random))
    }

    mutating func answer() throws {
        guard let last = state.lastSwitch else { return }
        let reason = Data("broke".utf8)
        let ready = SwitchAnswer.ready(at: Sequence(rawValue: UInt64.random(in: 0...9, using: &random)))
        let answers: [SwitchAnswer] = [ready, ready, .done, .refuse(reason), .fail(reason)]
        let answer = answers.randomElement(using: &random) ?? ready
        _ = try state.answer(answer, to: last.id, by: Bool.random(using: &random) ? last.to : device(), at: now)
    }

    mutating func freshOffer() -> CommitOffer {
        var then = AfterCommit.keep
        switch Int.random(in: 0..<6, using: &random) {
        case 0: then = .release
        case 1, 2: if let last = state.lastSwitch { then = .move(last.id) }
        default: break
        }
        let content = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
        // Mostly the next one, some behind a gap, some that don't follow the head.
        let head = state.headSequence.rawValue
        let sequence = head + ([1, 1, 1, 1, 1, 1, 4, 0].randomElement(using: &random) ?? 1)
        let parent = UInt64.random(in: 0...9, using: &random) == 0 ? head + 1 : head
        return CommitOffer(
            epoch: someEpoch(), sequence: Sequence(rawValue: sequence), parent: Sequence(rawValue: parent),
            kind: .live, size: 1, checksum: ContentHash(digest: content), then: then)
    }

    mutating func commit(_ offer: CommitOffer, by device: DeviceID) throws {
        let before = state
        let known = history[offer.sequence]
        let decision = try state.commit(offer, by: device, known: known, at: now)
        if case .accepted(let record) = decision {
            try #require(history.updateValue(record, forKey: record.sequence) == nil, "a checkpoint was replaced")
            try #require(before.holder == device && before.epoch == offer.epoch, "a fenced commit was accepted")
            try #require(before.headSequence == offer.parent, "a commit was accepted that doesn't follow the head")
            offers.append((offer, device))
        } else {
            try #require(state == before && decision.record == known, "a repetition changed something")
        }
    }

    /// The invariants of `LeaseState`, over one step.
    mutating func check(from before: LeaseState, refused: Bool) throws {
        try #require(!refused || state == before, "a refusal changed the state")
        try #require(state.epoch >= before.epoch)
        try #require(state.epoch.rawValue <= before.epoch.rawValue + 1)
        if state.holder != before.holder, let holder = state.holder {
            try #require(state.epoch == before.epoch.next, "the lease moved under the same epoch")
            try #require(grants.updateValue(holder, forKey: state.epoch) == nil, "an epoch was given twice")
        }
        try #require(state.headSequence >= before.headSequence)
    }
}

@Suite struct LeaseModelTests {
    @Test(arguments: 1...50)
    func theInvariantsHoldWhateverDevicesDo(seed: Int) throws {
        var world = LeaseWorld(seed: UInt64(seed))
        var moved = 0
        for _ in 0..<5000 {
            var settled = world.state
            let before = settled
            var refused = false
            do { try world.step() } catch is VMSyncError {
                refused = true
                // Time may have passed in a refused step; nothing else may have changed.
                settled.settle(at: world.now)
            }
            try world.check(from: refused ? settled : before, refused: refused)
            if world.state.lastSwitch?.state == .moved, before.lastSwitch?.state != .moved { moved += 1 }
        }
        // A world in which nothing happens would prove nothing.
        #expect(world.state.headSequence.rawValue > 100)
        #expect(moved > 5)
        #expect(world.state.epoch.rawValue > 20)
    }
}
