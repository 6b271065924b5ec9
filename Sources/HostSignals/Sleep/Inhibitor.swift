/// Who delays sleep, and why, as `systemd-inhibit --list` shows it.
package struct Inhibitor: Sendable, Hashable {
    package let who: String
    package let why: String

    package init(who: String, why: String) {
        self.who = who
        self.why = why
    }
}
