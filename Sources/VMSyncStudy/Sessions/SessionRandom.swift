/// Random numbers that a seed repeats, on every machine (SplitMix64, Steele, Lea and Flood 2014).
struct SessionRandom: RandomNumberGenerator {
    private var state: UInt64

    /// - Parameter stream: different streams of one seed have nothing in common.
    init(seed: UInt64, stream: UInt64 = 0) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 ^ stream &* 0xD1B5_4A32_D192_ED03
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    /// A pause of a person.
    /// - Parameter range: of milliseconds.
    mutating func pause(_ range: ClosedRange<Int>) -> Duration { .milliseconds(number(range)) }
}
