#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Measures the load between two looks.
package struct LoadMeter: Sendable {
    /// The kernel adds up pressure only every two seconds (`PSI_FREQ`): over a shorter time the difference is luck.
    package static let spanMin = Duration.seconds(8)

    private var last: (total: Duration, time: Duration)?
    private var share: Double?

    package init() {}

    /// Reads the host's load: its pressure, or its load average where there is none.
    /// - Parameters:
    ///   - root: `/proc`.
    ///   - time: on a clock that stands still while the host sleeps.
    package mutating func read(root: String, at time: Duration) -> Reading<HostLoad> {
        let pressure: String
        do {
            // Absent: an old kernel. EOPNOTSUPP when it is read: one that was started with psi=0.
            pressure = try KernelFile.text("\(root)/pressure/cpu")
        } catch {
            return Self.average(root: root, why: error.words)
        }
        guard let stall = PressureStall(parsing: pressure) else {
            return Self.average(root: root, why: "\(root)/pressure/cpu has another form")
        }
        return .known(note(stall, at: time))
    }

    /// The load since the last look that is `spanMin` ago; before there was one, the kernel's average.
    package mutating func note(_ stall: PressureStall, at time: Duration) -> HostLoad {
        guard let last, stall.total >= last.total, time >= last.time else {
            last = (stall.total, time)
            share = nil
            return HostLoad(share: stall.average10, measure: .pressure)
        }
        let span = time - last.time
        if span >= Self.spanMin {
            share = min((stall.total - last.total) / span, 1)
            self.last = (stall.total, time)
        }
        return HostLoad(share: share ?? stall.average10, measure: .pressure)
    }

    private static func average(root: String, why: String) -> Reading<HostLoad> {
        let text: String
        do { text = try KernelFile.text("\(root)/loadavg") } catch { return .unknown("\(why); \(error.words)") }
        let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        guard let load = LoadAverage.load(parsing: text, processors: processors) else {
            return .unknown("\(why); \(root)/loadavg has another form")
        }
        return .known(load)
    }
}
