import RFB

/// One thing that a person does at a desktop, or waits for.
package indirect enum Step: Sendable, Hashable {
    /// How fast keys are typed.
    package enum Pace: Sendable, Hashable {
        /// Like a person who thinks while writing: about five keys a second.
        case person
        /// For what is not measured.
        case quick
    }

    /// Keys held together, as "Ctrl+S": the last is pressed while the others are held.
    package struct Chord: Sendable, Hashable {
        package let keysyms: [UInt32]
        package init(_ keysyms: UInt32...) { self.keysyms = keysyms }
        package static func control(_ letter: Character) -> Chord {
            Chord(Keysym.control, Keysym.typing(letter)?.keysym ?? Keysym.escape)
        }
    }

    /// Letters of a keyboard of the United States; "http://pages" stands for the page server.
    case type(String, Pace)
    case press(Chord)
    /// The pointer goes there as a hand would lead it.
    case move(x: Int, y: Int)
    case click
    /// With the left button held, from where the pointer is.
    case drag(x: Int, y: Int)
    /// Notches of the wheel; downwards if positive.
    case scroll(Int)
    /// Nothing is done.
    case think(Duration)
    /// The guest must tell a fact that holds this text, later than the one that was waited for before.
    case expect(String, within: Duration)
    /// These steps, again and again until the guest tells such a fact: QEMU drops what is typed or clicked while the VM
    /// is paused, and a person who sees that nothing happened does it again.
    case insist([Step], on: String, each: Duration)
    /// A line for the guest's shell, past keyboard and screen: for what isn't the session's work.
    case command(String)
}

extension Step {
    /// The page server's address in a script, which doesn't know its port.
    static let pages = "http://pages"
    /// How often a person tries before giving up.
    static let triesMax = 5

    /// Lets the guest tell a fact of its own: `fact` and what the shell makes of `words`.
    static func tell(_ name: String, _ words: String) -> [Step] {
        [.command("fact \(name) \(words)"), .expect("fact \(name)", within: .seconds(120))]
    }

    /// Ends the programs of all sessions and waits until they are gone: an empty desktop.
    static let clear: [Step] = {
        let programs = "netsurf-gtk|mpv|audacious|rec|sox|abiword|gimp|gimp-2.10|script-fu|make|cc1|xterm|geany"
        let loop = "while pkill -x $p && [ $n -lt 20 ]; do sleep 0.5; n=$((n+1)); done"
        return [.command("p='\(programs)'; n=0; \(loop); pkill -KILL -x $p; fact cleared")]
            + [.expect("fact cleared", within: .seconds(120))]
    }()

    /// Opens a terminal in which a command line runs.
    static func terminal(_ line: String) -> Step { .command("xterm -T Terminal -e sh -c '\(line)'") }
}
