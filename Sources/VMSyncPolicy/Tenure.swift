import VMSyncCore

/// A device's time as the active one; `tenure.json` in the VM's folder, from before the guest's first instruction here
/// until the server has confirmed that the lease is elsewhere.
///
/// It is what a restarted daemon knows of a QEMU that it finds: without a tenure the QEMU only waited; with one that
/// isn't departing the guest may run on; with one that is, only the server knows who may run it.
package struct Tenure: Hashable, Sendable, Codable {
    /// The last checkpoint under this tenure, and what becomes of the lease with it.
    package struct Departure: Hashable, Sendable, Codable {
        package enum Kind: String, Hashable, Sendable, Codable {
            case release
            case move
            /// As `release`, for a guest that has shut itself down: all that matters is on its disks.
            case off
            /// Directly to another device, without a word of the server. (docs/protocol/direct.md)
            case direct
        }
        package var sequence: Sequence
        package var kind: Kind
        package var switchID: SwitchID?

        package var then: AfterCommit {
            guard kind == .move, let switchID else { return .release }
            return .move(switchID)
        }

        package init(sequence: Sequence, then: AfterCommit, isOff: Bool = false) {
            self.sequence = sequence
            if case .move(let id) = then {
                kind = .move
                switchID = id
            } else {
                kind = isOff ? .off : .release
            }
        }

        package init(sequence: Sequence, directly id: SwitchID) {
            self.sequence = sequence
            kind = .direct
            switchID = id
        }
    }

    package var epoch: Epoch
    package var departure: Departure?
    /// Whether a person has said that this device takes the VM over from one that is lost.
    package var isForced: Bool?
    /// Whether the VM went on elsewhere, so that the guest must stand still here.
    package var isDiverged: Bool?
    /// Whether anything may have been sent to the server under it. Noted, so that it survives a power loss, before the first
    /// checkpoint is.
    package var hasSent: Bool?

    package init(epoch: Epoch, departure: Departure? = nil, isForced: Bool? = nil, isDiverged: Bool? = nil) {
        self.epoch = epoch
        self.departure = departure
        self.isForced = isForced
        self.isDiverged = isDiverged
    }

    package var diverged: Tenure {
        var tenure = self
        tenure.isDiverged = true
        return tenure
    }

    package var sending: Tenure {
        var tenure = self
        tenure.hasSent = true
        return tenure
    }

    /// The same tenure, with another departure or none.
    package func departing(_ departure: Departure?) -> Tenure {
        var tenure = self
        tenure.departure = departure
        tenure.isDiverged = nil
        return tenure
    }
}
