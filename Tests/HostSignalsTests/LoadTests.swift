import HostSignals
import Testing

@Suite("How busy the host is") struct LoadTests {
    private func stall(average: Double, microseconds: Int64) throws -> PressureStall {
        try #require(PressureStall(parsing: "some avg10=\(average) avg60=0.00 avg300=0.00 total=\(microseconds)\n"))
    }

    @Test func theLineOfTheKernelIsRead() throws {
        let text = """
            some avg10=1.69 avg60=5.04 avg300=7.97 total=4595061152
            full avg10=0.00 avg60=0.00 avg300=0.00 total=0

            """
        let stall = try #require(PressureStall(parsing: text))
        #expect(abs(stall.average10 - 0.0169) < 1e-9 && stall.total == .microseconds(4_595_061_152))
    }

    @Test(arguments: [
        "", "full avg10=0.00 avg60=0.00 avg300=0.00 total=0", "some avg10=x total=1", "some avg10=1.0",
        "some avg10=101 total=1", "some avg10=nan total=1", "some avg10=1.0 total=-1",
        "some avg10=1 total=99999999999999999999",
    ])
    func anotherFormIsNoPressure(text: String) { #expect(PressureStall(parsing: text) == nil) }

    @Test func theFirstLookTakesTheKernelsAverage() throws {
        var meter = LoadMeter()
        #expect(meter.note(try stall(average: 25, microseconds: 7), at: .seconds(100)).share == 0.25)
    }

    @Test func twoLooksGiveTheShareBetweenThem() throws {
        var meter = LoadMeter()
        _ = meter.note(try stall(average: 0, microseconds: 1_000_000), at: .seconds(100))
        let load = meter.note(try stall(average: 0, microseconds: 6_000_000), at: .seconds(110))
        #expect(load == HostLoad(share: 0.5, measure: .pressure))
        // Too soon for another one.
        let soon = meter.note(try stall(average: 0, microseconds: 6_000_000), at: .seconds(111))
        #expect(soon.share == 0.5)
        #expect(meter.note(try stall(average: 0, microseconds: 6_000_000), at: .seconds(120)).share == 0)
    }

    @Test func moreThanAllIsAll() throws {
        var meter = LoadMeter()
        _ = meter.note(try stall(average: 0, microseconds: 0), at: .seconds(100))
        #expect(meter.note(try stall(average: 0, microseconds: 30_000_000), at: .seconds(110)).share == 1)
    }

    @Test func aCounterThatGoesBackBeginsAnew() throws {
        var meter = LoadMeter()
        _ = meter.note(try stall(average: 0, microseconds: 9_000_000), at: .seconds(100))
        #expect(meter.note(try stall(average: 50, microseconds: 1), at: .seconds(110)).share == 0.5)
    }

    @Test func thisKernelSaysSomething() throws {
        var meter = LoadMeter()
        let load = try #require(meter.read(root: "/proc", at: .zero).value)
        #expect((0...1).contains(load.share))
    }

    @Test func withoutPressureTheLoadAverageCounts() throws {
        let tree = try FixtureTree()
        try tree.write("0.00 9.00 9.00 1/100 4242\n", to: "loadavg")
        var meter = LoadMeter()
        #expect(meter.read(root: tree.root, at: .zero) == .known(HostLoad(share: 0, measure: .loadAverage)))
    }

    @Test func theLoadAverageIsSharedByTheProcessors() {
        let text = "3.00 0.42 1.11 2/456 12345\n"
        #expect(LoadAverage.load(parsing: text, processors: 4) == HostLoad(share: 0.75, measure: .loadAverage))
        #expect(LoadAverage.load(parsing: text, processors: 2)?.share == 1)
        for wrong in ["", "busy 0 0", "-1 0 0", "nan 0 0", "inf 0 0"] {
            #expect(LoadAverage.load(parsing: wrong, processors: 2) == nil)
        }
    }

    @Test func withoutEitherItIsUnknown() throws {
        let tree = try FixtureTree()
        var meter = LoadMeter()
        let reason = meter.read(root: tree.root, at: .zero).whyUnknown
        #expect(reason?.contains("pressure/cpu") == true && reason?.contains("loadavg") == true)
    }
}
