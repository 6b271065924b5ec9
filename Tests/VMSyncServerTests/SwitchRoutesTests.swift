import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

@Suite(.timeLimit(.minutes(1))) struct SwitchRoutesTests {
    static let reason = Data("encrypted".utf8)

    @Test func aSwitchMovesTheVMFromDeviceToDevice() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let vm = try await it.activeVM()
            // A VM is older than its switches.
            it.clock.advance(by: .seconds(3600))
            let request = try await it.desktop.requestSwitch(vm, to: it.desktopID)
            #expect(request.state == .requested && request.from == it.laptopID && request.created == it.clock.now)
            let ready = try await it.desktop.answer(.ready(at: .base), to: request.id, of: vm)
            #expect(ready.state == .ready && ready.held == .base)
            let head = try await it.commit(1, to: vm, then: .move(request.id))
            // The answer was lost: the source repeats its commit, though the lease is gone.
            #expect(try await it.commit(1, to: vm, then: .move(request.id)) == head)
            let moved = try await it.laptop.vm(vm)
            #expect(moved.holder == it.desktopID && moved.epoch == Epoch(rawValue: 2) && moved.head == head)
            #expect(moved.lastSwitch?.state == .moved && moved.runState == .active)
            #expect(await failure { try await it.commit(2, to: vm) }?.code == .fenced)
            _ = try await it.laptop.answer(.report(["pause": 8.5]), to: request.id, of: vm)
            _ = try await it.desktop.answer(.report(["load": 4]), to: request.id, of: vm)
            let done = try await it.desktop.answer(.done, to: request.id, of: vm)
            #expect(done.state == .done && done.steps == ["pause": 8.5, "load": 4])
            try await it.commit(2, epoch: 2, to: vm, by: it.desktopDevice)
        }
    }

    @Test func aSwitchThatCanNotBeIsRefusedWithTheReason() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let free = try await it.createVM()
            let nobody = await failure { _ = try await it.laptop.requestSwitch(free, to: it.desktopID) }
            #expect(nobody?.code == .wrongState && nobody?.hint == "vmsync start")
            let vm = try await it.activeVM()
            #expect(await failure { _ = try await it.laptop.requestSwitch(vm, to: it.laptopID) }?.code == .wrongState)
            #expect(await failure { _ = try await it.laptop.requestSwitch(vm, to: .random()) }?.code == .notFound)
            let open = try await it.laptop.requestSwitch(vm, to: it.desktopID)
            let second = await failure { _ = try await it.laptop.requestSwitch(vm, to: it.desktopID) }
            #expect(second?.code == .leaseHeld && second?.message.contains(open.id.rawValue) == true)
            #expect(await failure { try await it.commit(1, to: vm, then: .move(open.id)) }?.code == .wrongState)
            #expect(await failure { try await it.commit(1, to: vm, then: .move(.random())) }?.code == .notFound)
            #expect(try await it.laptop.vm(vm).head == nil)
        }
    }

    @Test func theTargetMayRefuseAndTheReasonIsKept() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let vm = try await it.activeVM()
            let id = try await it.laptop.requestSwitch(vm, to: it.desktopID).id
            #expect(
                await failure { _ = try await it.laptop.answer(.ready(at: .base), to: id, of: vm) }?.code == .wrongState
            )
            _ = try await it.desktop.answer(.refuse(Self.reason), to: id, of: vm)
            let refused = try await it.laptop.vm(vm).lastSwitch
            #expect(refused?.state == .refused && refused?.reason == Self.reason)
            let again = try await it.laptop.requestSwitch(vm, to: it.desktopID).id
            #expect(try await it.laptop.answer(.fail(Self.reason), to: again, of: vm).state == .failed)
            #expect(
                await failure { _ = try await it.desktop.answer(.ready(at: .base), to: again, of: vm) }?.code
                    == .wrongState)
        }
    }

    @Test func aSwitchExpiresByTheServersClock() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let vm = try await it.activeVM()
            let id = try await it.laptop.requestSwitch(vm, to: it.desktopID).id
            _ = try await it.desktop.answer(.ready(at: .base), to: id, of: vm)
            it.clock.advance(by: .seconds(60))
            #expect(try await it.laptop.vm(vm).lastSwitch?.state == .expired)
            #expect(await failure { try await it.commit(1, to: vm, then: .move(id)) }?.code == .wrongState)
            try await it.commit(1, to: vm)
            _ = try await it.laptop.requestSwitch(vm, to: it.desktopID)
        }
    }

    @Test func aSwitchForWhichADeviceWorksMayTakeLong() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let vm = try await it.activeVM()
            let id = try await it.laptop.requestSwitch(vm, to: it.desktopID).id
            _ = try await it.desktop.answer(.ready(at: .base), to: id, of: vm)
            for _ in 1...3 {
                it.clock.advance(by: .seconds(50))
                _ = try await it.laptop.answer(.report([:]), to: id, of: vm)
            }
            try await it.commit(1, to: vm, then: .move(id))
            #expect(try await it.laptop.vm(vm).lastSwitch?.state == .moved)
        }
    }

    @Test func whatASwitchIsToldHasLimits() async throws {
        try await ServerFixture.with { it async throws -> Void in
            let vm = try await it.activeVM()
            let id = try await it.laptop.requestSwitch(vm, to: it.desktopID).id
            let long = Data(count: APILimits.reasonBytesMax + 1)
            let answers: [SwitchAnswer] = [
                .fail(long), .report([String(repeating: "x", count: 65): 1]), .report(["pause": -1]),
            ]
            for answer in answers {
                #expect(await failure { _ = try await it.laptop.answer(answer, to: id, of: vm) }?.code == .invalidInput)
            }
            #expect(await failure { _ = try await it.laptop.answer(.done, to: .random(), of: vm) }?.code == .notFound)
        }
    }
}
