/// What a switch to another device would take at this moment: the time from the command to the guest's first instruction
/// there. (docs/policy.md, "switch-within")
package struct SwitchForecast: Hashable, Sendable {
    /// From here to the server.
    package var up: LinkSummary
    /// From the server to the device that the VM would go to; nil if it hasn't told, and then as the way up.
    package var down: LinkSummary?
    /// What a switch takes besides transfers: pause, encoding, loading, in seconds.
    package var fixed: Estimate

    /// Pause, encoding and loading of a small guest on the slowest device that was measured, with room for a busy one.
    package static let usualFixed = Estimate(0.15, deviation: 0.05)

    package init(up: LinkSummary, down: LinkSummary? = nil, fixed: Estimate = usualFixed) {
        self.up = up
        self.down = down
        self.fixed = fixed
    }

    /// Seconds of a switch with so many bytes unsent.
    package func seconds(unsent: Double) -> Estimate {
        fixed + up.seconds(for: unsent) + (down ?? up).seconds(for: unsent)
    }

    /// Seconds of a switch, where what is unsent is itself guessed.
    package func seconds(unsent: Estimate) -> Estimate {
        var seconds = seconds(unsent: unsent.mean)
        seconds.deviation += secondsPerByte * unsent.deviation
        return seconds
    }

    /// Seconds of a switch that is asked for now. What waits is sent first, and the guest writes on meanwhile, unless it stands
    /// still. A burst may or may not come, so it belongs to what the guess may be off by: `high` has all of it.
    package func seconds(_ unsent: SyncSignals.Unsent) -> Estimate {
        let (sending, after) = sending(unsent)
        let isHeld = SwitchApproach.isOutrun(sending, after: after)
        let grown = isHeld ? 0 : unsent.growth.mean * sending
        return seconds(unsent: unsent.all + Estimate(grown, deviation: unsent.burst / 2))
    }

    /// Seconds that what waits takes to the server, and then what the guest has written until then.
    package func sending(_ unsent: SyncSignals.Unsent) -> (seconds: Double, after: Double) {
        let sending = unsent.waiting > 0 ? up.seconds(for: unsent.waiting).mean : 0
        return (sending, up.seconds(for: (unsent.written?.mean ?? 0) + unsent.growth.mean * sending).mean)
    }

    /// How many bytes may be unsent for a switch to take so long at most; 0 or less if it takes longer in any case. Few, where
    /// nothing is known of the link: then it is.
    package func room(within promise: Double) -> Double {
        // Linear in the bytes, the deviation too.
        let slope = seconds(unsent: 1).high - seconds(unsent: 0).high
        let room = (promise - seconds(unsent: 0).high) / slope
        return up.isGuessed ? min(room, LinkSummary.guessedMax) : room
    }

    private var secondsPerByte: Double { seconds(unsent: 1).mean - seconds(unsent: 0).mean }
}
