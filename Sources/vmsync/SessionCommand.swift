import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncDevice
import VMSyncStudy

struct SessionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session", abstract: "Work at the desktop guest as a person would, by a script.",
        discussion: """
            The VM must be made of the desktop guest (make guest-desktop) and run on this device. The same seed does the \
            same. Ends with what was seen, and fails if the session didn't really happen.

              vmsync session web work --seed 7 --seconds 30

            Sessions: \(DesktopSession.names.joined(separator: ", ")).
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "Which session.") var session: String
    @OptionGroup var vm: VMArgument
    @Option(help: "What the script is drawn from.") var seed: UInt64 = 1
    @Option(help: "Length of the work itself; a task that takes longer is finished.") var seconds = 30
    @Option(help: "Folder of the guest. (default: $VMSYNC_GUESTS/desktop)") var guest: String?

    func validate() throws {
        guard (1...86_400).contains(seconds) else { throw ValidationError("--seconds takes 1 to 86400") }
    }

    func run() async throws {
        let guest = try DesktopGuest(folder: guest)
        var session = try DesktopSession.named(session, seed: seed, packages: guest.packages)
        let desk = try await desk(guest)
        try await DesktopSession.waitForDesktop(desk)
        try await session.prepare(on: desk)
        try await session.run(on: desk, for: .seconds(seconds))
        let verdict = try await session.check(on: desk)
        await desk.pages.stop()
        if common.json { try Output.json(verdict) } else { show(verdict) }
        if !verdict.happened { throw ExitCode(1) }
    }

    private func desk(_ guest: DesktopGuest) async throws -> Desk {
        let status = try await common.withDaemon { try await $0.get(ControlPath.status, as: DaemonStatus.self) }
        guard let found = status.vms.first(where: { $0.name == vm.name }) else {
            throw VMSyncError(.notFound, "there is no VM \"\(vm.name)\"", hint: "vmsync list")
        }
        guard found.machine != nil, found.state == .active else {
            throw VMSyncError(.wrongState, "\(vm.name) doesn't run on this device", hint: "vmsync start \(vm.name)")
        }
        return Desk(
            common.folders.machine(found.id), pages: try await PageServer.start(packages: guest.packageFolder))
    }

    private func show(_ verdict: SessionVerdict) {
        Output.line("\(verdict.session), seed \(verdict.seed): \(verdict.happened ? "happened" : "DID NOT HAPPEN")")
        for problem in verdict.problems { Output.line("  \(problem)") }
        Output.table(["SEEN", ""], verdict.observations.sorted { $0.key < $1.key }.map { [$0.key, $0.value] })
    }
}
