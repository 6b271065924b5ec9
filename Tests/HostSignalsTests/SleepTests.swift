import Foundation
import HostSignals
import HostSignalsTestSupport

import Testing

/// With the real logind, which believes that it can suspend; what systemd would do then is played by a script.
@Suite("Sleep, with logind", .timeLimit(.minutes(1))) struct SleepTests {
    private static let sleeping = "starting suspend.target"

    @Test func theHostWaitsForTheDelayEachTime() async throws {
        try await HostServices.with(.sleep) { services in
            let clocks = TestClocks()
            try await Watched.with(bus: services.bus, clocks: { clocks.now }) { watched in
                let granted = try await watched.delayIsTaken()
                #expect(granted == .seconds(5))
                for round in 0..<2 {
                    try await services.run("login Suspend b false")
                    let delay = try await watched.nextSleep()
                    #expect(delay.isHeld && delay.timeLeft > .zero && delay.timeLeft <= granted)
                    try await Task.sleep(for: .milliseconds(500))
                    #expect(try services.count(of: Self.sleeping) == round)
                    clocks.sleep(.seconds(3600))
                    delay.release()
                    #expect(!delay.isHeld)
                    #expect(try await watched.nextWaking() == .seconds(3600))
                    _ = try await watched.wait(for: "the sleep") {
                        try services.count(of: Self.sleeping) == round + 1 ? true : nil
                    }
                    // Taken anew once the job is through.
                    try await services.run("await 'a new lock' eval 'systemd-inhibit --list | grep -q \"a test\"'")
                }
                #expect(watched.untaken.isEmpty)
            }
        }
    }

    @Test func aDelayThatNobodyHoldsIsReleased() async throws {
        try await HostServices.with(.sleep) { services in
            try await Watched.with(bus: services.bus) { watched in
                _ = try await watched.delayIsTaken()
                try await services.run("login Suspend b false")
                #expect(try await watched.nextSleep().isHeld)
                // It slept for no time at all, and says that it is over.
                #expect(try await watched.nextWaking() == .zero)
            }
        }
    }

    @Test func aShutdownWaitsToo() async throws {
        try await HostServices.with(.sleep) { services in
            try await Watched.with(bus: services.bus) { watched in
                _ = try await watched.delayIsTaken()
                try await services.run("login PowerOff b false")
                let delay = try await watched.next("a shutdown") {
                    if case .willShutDown(let delay) = $0 { delay } else { nil }
                }
                #expect(delay.isHeld && delay.timeLeft > .zero)
                #expect(try services.count(of: "starting poweroff.target") == 0)
                delay.release()
                _ = try await watched.wait(for: "the shutdown") {
                    try services.count(of: "starting poweroff.target") == 1 ? true : nil
                }
            }
        }
    }

    @Test func aLogindThatIsRestartedIsAskedAgain() async throws {
        try await HostServices.with(.sleep) { services in
            try await Watched.with(bus: services.bus) { watched in
                _ = try await watched.delayIsTaken()
                try await services.run("stop $logind")
                let reason = try await watched.delayIsLost()
                #expect(reason == "org.freedesktop.login1 doesn't run")
                try await services.run("start_logind")
                _ = try await watched.delayIsTaken()
                try await services.run("login Suspend b false")
                #expect(try await watched.nextSleep().isHeld)
            }
        }
    }

    @Test func aBusThatIsRestartedIsFoundAgain() async throws {
        try await HostServices.with(.sleep) { services in
            try await Watched.with(bus: services.bus) { watched in
                _ = try await watched.delayIsTaken()
                try await services.run("stop $bus")
                _ = try await watched.delayIsLost()
                try await services.run("bus=; restart_bus")
                _ = try await watched.delayIsTaken()
                try await services.run("login Suspend b false")
                #expect(try await watched.nextSleep().isHeld)
            }
        }
    }

    @Test func aLogindThatDiesBeforeTheSleepLeavesNobodyWaiting() async throws {
        try await HostServices.with(.sleep) { services in
            try await Watched.with(bus: services.bus) { watched in
                _ = try await watched.delayIsTaken()
                try await services.run("login Suspend b false")
                let delay = try await watched.nextSleep()
                try await services.run("stop $logind")
                #expect(try await watched.nextWaking() == .zero)
                #expect(!delay.isHeld)
            }
        }
    }

    @Test func aStrangersSignalIsNotBelieved() async throws {
        try await HostServices.with(.sleep) { services in
            try await Watched.with(bus: services.bus) { watched in
                _ = try await watched.delayIsTaken()
                try await services.run("forge_sleep true; forge_sleep false")
                try await services.run("login Suspend b false")
                try await watched.nextSleep().release()
                _ = try await watched.wait(for: "the sleep") {
                    try services.count(of: Self.sleeping) == 1 ? true : nil
                }
                _ = try await watched.nextWaking()
                // What was forged came before, and would have been told before.
                #expect(watched.sleeps == 1)
            }
        }
    }

    @Test func theClocksTellOfASleepThatLogindDoesNotKnow() async throws {
        try await HostServices.with(.sleep) { services in
            let clocks = TestClocks()
            try await Watched.with(bus: services.bus, clocks: { clocks.now }) { watched in
                _ = try await watched.delayIsTaken()
                clocks.sleep(.seconds(7200))
                #expect(try await watched.nextWaking() == .seconds(7200))
            }
        }
    }

    @Test func withoutABusTheClocksTellThatTheHostSlept() async throws {
        let clocks = TestClocks()
        try await Watched.with(bus: "unix:path=/nonexistent/bus", clocks: { clocks.now }) { watched in
            _ = try await watched.wait(for: "the reason") {
                let reason = await watched.watch.current().sleepDelay.whyUnknown
                return reason?.contains("/nonexistent/bus: No such file or directory") == true ? true : nil
            }
            clocks.sleep(.seconds(7200))
            #expect(try await watched.nextWaking() == .seconds(7200))
        }
    }
}
