import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncStudy
import VMSyncTestSupport

extension EndToEnd {
    /// A guest that stood still is told what time it is.
    @Suite(.timeLimit(.minutes(5))) struct GuestClockTests {
        @Test func theClockIsRightSoonAfterAResumeAndASwitch() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try await Self.spoilClock(stage, "A")
                try await trial.tell("A", "suspend", Done())
                try stage.turn()
                try await Task.sleep(for: .seconds(5))
                try await trial.tell("B", "start", StartRequest(force: false))
                try await Self.checkClock(stage, "B")
                // The network card came back from the pulled cable.
                let carrier = try await Self.answer(to: "cat /sys/class/net/eth0/carrier", stage, "B")
                #expect(carrier == "1")

                try await Self.spoilClock(stage, "B")
                try await trial.waitUntilReady("A")
                _ = try await stage.move()
                try await Self.checkClock(stage, "A")
            }
        }

        // MARK: Parts of the above

        /// Sets the guest's clock an hour back, as if it had stood still for so long.
        private static func spoilClock(_ stage: Stage, _ device: String) async throws {
            let before = try await guestTime(stage, device)
            _ = try await answer(to: "date -s @\(Int(before) - 3600) > /dev/null; echo set", stage, device)
            #expect(try await guestTime(stage, device) < before - 3000)
        }

        private static func checkClock(_ stage: Stage, _ device: String) async throws {
            let said = try await waitFor("\(device) to set the guest's clock") {
                try await stage.trial.vm(device)?.machine?.clock
            }
            #expect(abs(said.skewSeconds) <= 1)
            // Independently: what the guest's own shell says, in whole seconds.
            let skew = try await guestTime(stage, device) - Date().timeIntervalSince1970
            #expect(abs(skew) < 3, "the guest is \(skew) s off")
        }

        private static func guestTime(_ stage: Stage, _ device: String) async throws -> Double {
            try #require(Double(try await answer(to: "date +%s", stage, device)))
        }

        /// What a command prints on the guest's console.
        private static func answer(to command: String, _ stage: Stage, _ device: String) async throws -> String {
            let paths = stage.trial.paths(device, stage.vm)
            let mark = "answer-\(Identifier.random())"
            return try await GuestConsole.with(paths.console) { console in
                try await console.type("echo \(mark)=$(\(command))")
                return try await waitFor("the guest to answer") {
                    let log = String(
                        decoding: FileManager.default.contents(atPath: paths.consoleLog) ?? Data(), as: UTF8.self)
                    return log.split(whereSeparator: \.isNewline).compactMap { line in
                        // Not the command itself, if the console shows that.
                        line.hasPrefix("\(mark)=") ? String(line.dropFirst(mark.count + 1)) : nil
                    }.first
                }
            }
        }
    }
}
