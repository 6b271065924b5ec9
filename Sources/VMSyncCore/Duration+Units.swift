extension Duration {
    /// As a fraction of seconds.
    package var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }

    /// As a fraction of milliseconds.
    package var milliseconds: Double { seconds * 1000 }
}
