import AsyncHTTPClient
import Foundation
import Logging
import NIOPosix
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets

/// Becoming one of a person's devices. (docs/protocol/trust.md, "Admission")
package struct Joining: Sendable {
    /// By what the device comes in.
    package enum Way: Sendable {
        /// As the first device of a new account, with an invitation of the server's.
        case founding(InvitationCode)
        /// With an invitation of a member's.
        case invited(InvitationCode)
        /// A member approves it by its id.
        case approved
        case recovery(RecoveryKey)
    }

    /// What a person must see meanwhile.
    package enum Notice: Sendable {
        /// The device waits until a member lets it in, which has to know this id if there was no invitation.
        case waiting(DeviceID)
        /// The recovery key of the account from now on, to be written down.
        case recoveryKey(RecoveryKey)
    }

    let folders: DeviceFolders
    let server: ServerAddress
    let name: String
    /// Whether the device is to be a mirror. (docs/protocol/catch-up.md)
    package var isMirror = false

    /// How often a waiting device looks whether it was let in.
    private static let look = Duration.milliseconds(250)

    /// - Parameters:
    ///   - server: as the server prints it.
    ///   - name: what to call this device; another one, if a device of the account has it.
    package init(server: String, name: String, folders: DeviceFolders) throws(VMSyncError) {
        self.folders = folders
        self.server = try ServerAddress(server)
        self.name = try Name.checked(name, of: "device")
    }

    /// Joins and notes who this device is now. Cancelled while it waits, the next try goes on waiting.
    /// - Throws: `alreadyExists` if it has joined before; what the server refuses.
    package func run(_ way: Way, notice: @escaping @Sendable (Notice) -> Void) async throws -> DeviceIdentity {
        let keys = try await NIOThreadPool.singleton.runIfActive { try prepare() }
        let certificate = try await PinnedTLS.certificate(of: server, keys)
        let http = try SyncClient.makeHTTPClient(keys, server: certificate)
        let identity: DeviceIdentity
        do {
            let client = SyncClient(servers: ServerRing([server.url]), httpClient: http)
            identity = try await join(way, keys, client, certificate, notice)
        } catch {
            try await http.shutdown()
            throw error
        }
        try await http.shutdown()
        return identity
    }

    private func prepare() throws -> DeviceKeys {
        try folders.make()
        if let known = try AtomicFile.read(DeviceIdentity.self, at: folders.identity) {
            throw VMSyncError(
                .alreadyExists, "this device has joined \(known.servers.first ?? "a server") as \"\(known.name)\"",
                hint: "use another --state folder for another device")
        }
        return try DeviceKeys.loadOrMake(folders)
    }

    private func join(
        _ way: Way, _ keys: DeviceKeys, _ client: SyncClient, _ certificate: [UInt8],
        _ notice: @Sendable (Notice) -> Void
    ) async throws -> DeviceIdentity {
        var state: AccountState
        switch way {
        case .founding(let code): state = try await found(code, keys, client, notice)
        case .invited(let code): state = try await wait(code, keys, client, notice)
        case .approved: state = try await wait(nil, keys, client, notice)
        case .recovery(let key): state = try await recover(key, keys, client, notice)
        }
        // Those that were there before have their keys.
        state.owed = []
        let account = Account(
            state, keys: keys, path: folders.account, client: client,
            logger: Logger(label: "vmsync.join", factory: { _ in SwiftLogNoOpLogHandler() }))
        try await account.save()
        try await account.refresh()
        let name = try await freeName(account, client)
        let servers = try await client.servers()
        let identity = DeviceIdentity(
            id: keys.id, name: name, servers: [server.url] + servers.filter { $0 != server.url },
            serverCertificate: Data(certificate), isMirror: isMirror ? true : nil)
        try await DeviceProfile(of: identity, capabilities: nil).publish(account, client)
        try await NIOThreadPool.singleton.runIfActive { [folders] in
            try AtomicFile.write(identity, to: folders.identity, durable: true)
        }
        return identity
    }

    private func found(
        _ code: InvitationCode, _ keys: DeviceKeys, _ client: SyncClient, _ notice: @Sendable (Notice) -> Void
    ) async throws -> AccountState {
        let recovery = try RecoveryKey.random()
        var state = AccountState()
        let entry = try Roster.founding(by: keys, recovery: recovery.identity)
        try state.take([entry])
        try await client.found(entry, invitation: code.text)
        let key = SubjectKey.random(generation: 1)
        state.put(key, of: .account)
        try await client.add(try state.grants(of: key, .account, by: keys))
        notice(.recoveryKey(recovery))
        return state
    }

    private func wait(
        _ code: InvitationCode?, _ keys: DeviceKeys, _ client: SyncClient, _ notice: @Sendable (Notice) -> Void
    ) async throws -> AccountState {
        try await client.apply(
            JoinRequest(identity: keys.identity, ticket: code?.ticket, proof: code?.proof(of: keys.identity)))
        notice(.waiting(keys.id))
        var joined = try await client.joinState()
        while joined.account == nil {
            try await Task.sleep(for: Self.look)
            joined = try await client.joinState()
        }
        guard let account = joined.account else { throw VMSyncError(.bug, "no account after waiting for it") }
        if let code {
            guard let welcome = joined.welcome, code.isWelcome(welcome, to: account) else {
                throw VMSyncError(
                    .unauthorized, "the account that let this device in isn't the one that it was invited to",
                    hint: "the server may have been tampered with; don't use it")
            }
        }
        var state = AccountState()
        try state.take(try await client.roster(from: 0))
        guard state.roster.account == account, state.roster.members[keys.id] == keys.identity else {
            throw VMSyncError(
                .corrupt, "the list of devices that the server shows isn't that of the account",
                hint: "the server may have been tampered with; don't use it")
        }
        return state
    }

    private func recover(
        _ key: RecoveryKey, _ keys: DeviceKeys, _ client: SyncClient, _ notice: @Sendable (Notice) -> Void
    ) async throws -> AccountState {
        let known = try await client.recovery(key.identity)
        var state = AccountState()
        try state.take(known.entries)
        guard state.roster.recovery == key.identity else {
            throw VMSyncError(.corrupt, "the server shows the list of devices of another account")
        }
        // One that doesn't open was made by a device that was revoked since, or by nobody.
        for grant in known.grants {
            if let opened = try? grant.open(by: key, state.roster) { state.put(opened, of: grant.subject) }
        }
        guard (try? state.newestKey(of: .account)) != nil else {
            throw VMSyncError(
                .corrupt, "none of the account's keys opens with this recovery key",
                hint: "the server may have been tampered with")
        }
        let next = try RecoveryKey.random()
        let entry = try state.roster.recovering(keys.identity, with: key, next: next.identity)
        // The one that was used counts no more, whatever becomes of the answer.
        notice(.recoveryKey(next))
        let grants =
            try state.grants(to: keys.identity, by: keys) + state.grants(to: next.identity, by: keys)
        try await client.recover(key.identity, RosterAddition(entry: entry, grants: grants))
        try state.take([entry])
        return state
    }

    /// The wanted name, or the first numbered one that no other device of the account has.
    private func freeName(_ account: Account, _ client: SyncClient) async throws -> String {
        let taken = Set(
            try await client.devices().filter { $0.id != account.keys.id }
                .map { DeviceProfile.read($0, account).name.lowercased() })
        if !taken.contains(name.lowercased()) { return name }
        for number in 2... where !taken.contains("\(name)-\(number)".lowercased()) { return "\(name)-\(number)" }
        return name
    }
}
