import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// How a device stands with a VM, as it tells the others; the server holds it encrypted.
struct StandingNote: Sendable, Codable, Hashable {
    /// As `status` says it there.
    var words: String
    /// From the server to it.
    var down: LinkSummary
    /// Whether it takes each checkpoint as it comes.
    var follows: Bool
    /// How many forks of late work it keeps.
    var forks: Int
    /// Whether it asks for one pack from what it holds to the head.
    var wants: Bool?
    /// Whether it never runs a VM.
    var isMirror: Bool?
}

/// What devices tell each other of themselves: how far each has come, and over what link.
extension VMHost {
    /// Between two words that only say how far this device has come.
    private static let standingRest = Duration.seconds(60)
    /// A word that is older says nothing of the device's link now.
    private static let standingAge = Duration.seconds(600)

    /// What the devices have said, the newest word of each.
    var standings: [(standing: VMRecord.Standing, note: StandingNote?)] {
        record.standings.map { ($0, note(of: $0)) }
    }

    private func note(of standing: VMRecord.Standing) -> StandingNote? {
        guard let bytes = standing.note else { return nil }
        if let stored = storedNotes[standing.device], stored.bytes == bytes { return stored.note }
        guard let json = try? account.decrypt(bytes, .standing(id, standing.device), of: .vm(id)),
            let note = try? JSONDecoder().decode(StandingNote.self, from: Data(json)), note.down.isPossible
        else { return nil }
        storedNotes[standing.device] = (bytes, note)
        return note
    }

    /// Reads what the others have said, where this device runs the VM.
    func noteStandings() {
        let newest = record.standings.map(\.told).max() ?? Timestamp(rawValue: 0)
        let following = standings.filter {
            $0.standing.device != me && $0.note?.follows == true && $0.note?.isMirror != true
                && newest < $0.standing.told + Self.standingAge
        }
        answerWishes()
        sync.slowestStandby = following.compactMap { $0.note?.down }.min { $0.goodput < $1.goodput }
    }

    /// Tells the others how this standby stands: when that changes, and now and then how far it has come.
    func tellStanding() {
        guard serverAnswers, recordIsCurrent, record.holder != me, let standing, let replica else { return }
        let held = replica.record.sequence
        let note = StandingNote(
            words: standing.reason, down: sync.down.link.rounded, follows: sync.decision.step == .checkpoint,
            forks: forks, wants: wantsMerge ? true : nil, isMirror: isMirror ? true : nil)
        let isNews = told?.note != note || told?.held != held
        let isUrgent =
            told?.note.words != note.words || told?.note.follows != note.follows
            || told?.note.forks != note.forks || told?.note.wants != note.wants
        guard isNews, told == nil || isUrgent || .now - (told?.at ?? .now) >= Self.standingRest else { return }
        told = (held, note, .now)
        Task { [id, client = environment.client, account, logger, me] in
            do {
                let json = try JSONEncoder().encode(note)
                let encrypted = Data(try account.encrypt(json, .standing(id, me), of: .vm(id)))
                try await client.setStanding(StandingReport(held: held, note: encrypted), of: id)
            } catch {
                logger.debug("the other devices don't know how this one stands: \(error)")
            }
        }
    }
}

extension LinkSummary {
    /// To two digits: what differs by less is no news.
    fileprivate var rounded: LinkSummary {
        func round(_ value: Double) -> Double {
            guard value > 0 else { return 0 }
            let unit = pow(10, log10(value).rounded(.down) - 1)
            return (value / unit).rounded() * unit
        }
        return LinkSummary(overhead: round(overhead), goodput: round(goodput), error: round(error))
    }
}
