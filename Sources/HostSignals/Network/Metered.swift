/// Whether what is sent costs money.
package enum Metered: Sendable, Hashable {
    /// Somebody said so.
    case yes
    case no
    /// It looks so.
    case guessedYes
    case guessedNo

    /// A guess counts as well: one that is wrong costs patience, or money.
    package var isMetered: Bool { self == .yes || self == .guessedYes }

    /// `NMMetered` of NetworkManager; nil if it doesn't know, which it says of every connection that isn't up yet.
    package init?(networkManager value: UInt32) {
        switch value {
        case 1: self = .yes
        case 2: self = .no
        case 3: self = .guessedYes
        case 4: self = .guessedNo
        default: return nil
        }
    }

    /// Of a tunnel and the link below it: whichever costs decides. What else is said of the tunnel says nothing of the
    /// money: that goes with the link.
    package static func together(tunnel: Reading<Metered>, link: Reading<Metered>) -> Reading<Metered> {
        let costs = [tunnel, link].compactMap(\.value).filter(\.isMetered)
        guard let sure = costs.first(where: { $0 == .yes }) ?? costs.first else { return link }
        return .known(sure)
    }
}
