/// Bytes that a device has sent and fetched.
package struct TrafficUse: Hashable, Sendable, Codable {
    package struct Count: Hashable, Sendable, Codable {
        package var all: UInt64 = 0
        /// Of them, while the way was metered.
        package var metered: UInt64 = 0

        package init() {}

        func bytes(_ scope: SyncPolicy.CapScope) -> UInt64 { scope == .all ? all : metered }
    }

    package var today = Count()
    package var month = Count()

    package init() {}
}

/// The same by the device's calendar, as it is kept over restarts.
package struct TrafficLedger: Hashable, Sendable, Codable {
    /// Days since 1970 in the device's time zone, and months since the year 0: whoever knows the calendar tells.
    package struct Date: Hashable, Sendable, Codable {
        package var day: Int
        package var month: Int

        package init(day: Int, month: Int) {
            self.day = day
            self.month = month
        }
    }

    private var date: Date
    private var use = TrafficUse()

    package init(_ date: Date) { self.date = date }

    package mutating func note(_ bytes: UInt64, isMetered: Bool, at now: Date) {
        turn(to: now)
        use.today.add(bytes, isMetered)
        use.month.add(bytes, isMetered)
    }

    package func use(at now: Date) -> TrafficUse {
        var copy = self
        copy.turn(to: now)
        return copy.use
    }

    /// A calendar that is set back begins nothing anew: a cap would be spent twice.
    private mutating func turn(to now: Date) {
        if now.month > date.month { use.month = TrafficUse.Count() }
        if now.day > date.day { use.today = TrafficUse.Count() }
        date = Date(day: max(date.day, now.day), month: max(date.month, now.month))
    }
}

extension TrafficUse.Count {
    fileprivate mutating func add(_ bytes: UInt64, _ isMetered: Bool) {
        all = all.addingReportingOverflow(bytes).overflow ? .max : all + bytes
        if isMetered { metered = metered.addingReportingOverflow(bytes).overflow ? .max : metered + bytes }
    }
}

/// A data cap, as it stands.
package struct CapStanding: Hashable, Sendable {
    package let limit: UInt64
    package let isMonthly: Bool
    /// What may still be sent or fetched.
    package let left: UInt64

    /// The cap of which the least is left; nil if none applies.
    package static func tightest(_ policy: SyncPolicy, _ used: TrafficUse, isMetered: Bool) -> CapStanding? {
        if policy.capScope == .metered, !isMetered { return nil }
        func standing(_ limit: UInt64?, _ count: TrafficUse.Count, isMonthly: Bool) -> CapStanding? {
            guard let limit else { return nil }
            let bytes = count.bytes(policy.capScope)
            return CapStanding(limit: limit, isMonthly: isMonthly, left: limit - min(limit, bytes))
        }
        return [
            standing(policy.capPerDay, used.today, isMonthly: false),
            standing(policy.capPerMonth, used.month, isMonthly: true),
        ].compactMap(\.self).min { $0.left < $1.left }
    }
}
