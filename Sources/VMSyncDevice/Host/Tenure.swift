import VMSyncCore
import VMSyncPolicy

/// A device's time as the active one; `tenure.json` in the VM's folder, from before the guest's first instruction here
/// until the server has confirmed that the lease is elsewhere.
///
/// It is what a restarted daemon knows of a QEMU that it finds: without a tenure the QEMU only waited; with one that
/// isn't departing the guest may run on; with one that is, only the server knows who may run it.
struct Tenure: Sendable, Codable {
    /// The last checkpoint under this tenure, and what becomes of the lease with it.
    struct Departure: Sendable, Codable {
        enum Kind: String, Codable {
            case release
            case move
            /// As `release`, for a guest that has shut itself down: all that matters is on its disks.
            case off
        }
        var sequence: Sequence
        var kind: Kind
        var switchID: SwitchID?

        var then: AfterCommit { switchID.map(AfterCommit.move) ?? .release }

        init(sequence: Sequence, then: AfterCommit, isOff: Bool = false) {
            self.sequence = sequence
            if case .move(let id) = then {
                kind = .move
                switchID = id
            } else {
                kind = isOff ? .off : .release
            }
        }
    }

    var epoch: Epoch
    var departure: Departure?
    /// Whether a person has said that this device takes the VM over from one that is lost.
    var isForced: Bool?
    /// Whether the VM went on elsewhere, so that the guest must stand still here.
    var isDiverged: Bool?

    var diverged: Tenure {
        Tenure(epoch: epoch, departure: departure, isForced: isForced, isDiverged: true)
    }

    /// The same tenure, with another departure or none.
    func departing(_ departure: Departure?) -> Tenure {
        Tenure(epoch: epoch, departure: departure, isForced: isForced)
    }
}
