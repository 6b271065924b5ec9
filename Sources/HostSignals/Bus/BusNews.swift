/// What comes from the bus unasked.
package enum BusNews: Sendable {
    /// There is a connection, for the first time or again, and its matches are in force: what was signalled before is
    /// lost.
    case connected
    /// There is none at the moment, for this reason. It is tried again.
    case lost(String)
    case signal(BusSignal)
}

package struct BusSignal: Sendable {
    /// Who really sent it, as `:1.7`. Anybody may send anybody a signal of any name: it counts only from the owner of
    /// the name that it is expected from.
    package let sender: String
    package let path: String
    package let interface: String
    package let member: String
    package let values: BusValues
}
