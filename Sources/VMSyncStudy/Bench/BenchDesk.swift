import VMSyncCore

/// The desktop guest, booted and ready to be worked at.
struct BenchDesk: Sendable {
    let machine: BenchMachine
    let desk: Desk
    /// For the files of a bench; on a tmpfs.
    let folder: String

    /// Boots the guest for the time of `body`.
    static func with<Result: Sendable>(
        _ guest: DesktopGuest, say: @Sendable (String) -> Void, _ body: (BenchDesk) async throws -> Result
    ) async throws -> Result {
        try await BenchFolder.with { folder in
            try await PageServer.with(packages: guest.packageFolder) { pages in
                try await BenchMachine.with(guest.guest, folder: folder, logger: BenchFolder.logger) { machine in
                    let desk = Desk(machine.paths, pages: pages)
                    say("booting the desktop")
                    try await DesktopSession.waitForDesktop(desk)
                    return try await body(BenchDesk(machine: machine, desk: desk, folder: folder))
                }
            }
        }
    }
}
