import VMSyncCore

extension SQLMetadataStore {
    // MARK: Invitations

    package func invite(
        _ code: ContentHash, to account: ContentHash?, lifetime: Duration
    ) async throws -> Timestamp {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            let expires = now + lifetime
            try transaction.run("DELETE FROM invitation WHERE expires <= ?", [.init(now)])
            try transaction.run(
                "INSERT INTO invitation (code, account, expires) VALUES (?, ?, ?)",
                [.init(code), .init(account), .init(expires)])
            return expires
        }
    }

    /// - Returns: the account that the invitation leads to; nil if it is for a new one.
    private static func checkInvitation(
        _ code: ContentHash, _ transaction: any SQLTransaction
    ) throws -> ContentHash? {
        let row = try transaction.first("SELECT * FROM invitation WHERE code = ?", [.init(code)])
        let hint = "on the server: vmsync server invite; on a joined device: vmsync invite"
        guard let row else { throw VMSyncError(.unauthorized, "there is no such invitation", hint: hint) }
        guard row.isNull("used_by") else {
            throw VMSyncError(.unauthorized, "the invitation was already used", hint: hint)
        }
        guard try transaction.now() < (try row.timestamp("expires")) else {
            throw VMSyncError(.unauthorized, "the invitation has expired", hint: hint)
        }
        return try row.checkedIfPresent("account")
    }

    private static func useUp(
        _ code: ContentHash, by device: DeviceID, _ transaction: any SQLTransaction
    ) throws {
        try transaction.run("UPDATE invitation SET used_by = ? WHERE code = ?", [.init(device), .init(code)])
    }

    // MARK: Accounts

    package func hasAccounts() async throws -> Bool {
        try await engine.transaction(.read) { try $0.first("SELECT id FROM account LIMIT 1") != nil }
    }

    package func found(
        _ account: ContentHash, by device: DeviceID, entry: [UInt8], recovery: ContentHash, invitation: ContentHash
    ) async throws {
        try await engine.transaction(.write) { transaction in
            if try transaction.first("SELECT id FROM account WHERE id = ?", [.init(account)]) != nil { return }
            guard try Self.checkInvitation(invitation, transaction) == nil else {
                throw VMSyncError(.unauthorized, "the invitation is to an account that there is")
            }
            try transaction.run(
                "INSERT INTO account (id, recovery, created) VALUES (?, ?, ?)",
                [.init(account), .init(recovery), .init(try transaction.now())])
            try Self.admit(device, to: account, transaction)
            try Self.insert(entry, number: 0, account, transaction)
            try Self.useUp(invitation, by: device, transaction)
            try transaction.announceDevices()
        }
    }

    package func account(recovery: ContentHash) async throws -> ContentHash? {
        try await engine.transaction(.read) { transaction in
            try transaction.first("SELECT id FROM account WHERE recovery = ?", [.init(recovery)])?.checked("id")
        }
    }

    package func roster(of account: ContentHash, from first: Int) async throws -> [[UInt8]] {
        try await engine.transaction(.read) { transaction in
            try transaction.run(
                "SELECT entry FROM roster WHERE account = ? AND number >= ? ORDER BY number",
                [.init(account), .integer(Int64(first))]
            ).map { try $0.bytes("entry") }
        }
    }

    package func append(
        _ entry: [UInt8], number: Int, to account: ContentHash, _ effect: RosterEffect, grants: [StoredGrant]
    ) async throws {
        try await engine.transaction(.write) { transaction in
            let count = try transaction.first(
                "SELECT count(*) AS entries FROM roster WHERE account = ?", [.init(account)]
            )?.integer("entries")
            guard count == Int64(number) else {
                throw VMSyncError(
                    .outOfOrder, "the list of devices has changed meanwhile", hint: "try the same again")
            }
            try Self.insert(entry, number: number, account, transaction)
            switch effect {
            case .admit(let device, let welcome):
                try Self.admit(device, to: account, transaction)
                try Self.answer(device, account, welcome, transaction)
            case .revoke(let device, let heads):
                try Self.endLeases(of: device, in: account, heads, transaction)
                try transaction.run("UPDATE device SET member = 0 WHERE id = ?", [.init(device)])
                try transaction.run("DELETE FROM presence WHERE device = ?", [.init(device)])
                try transaction.run(
                    "DELETE FROM key_grant WHERE account = ? AND recipient = ?",
                    [.init(account), .text("device \(device)")])
            case .recover(let device, let recovery):
                try Self.admit(device, to: account, transaction)
                try Self.setRecovery(recovery, of: account, transaction)
            case .renew(let recovery): try Self.setRecovery(recovery, of: account, transaction)
            }
            try Self.add(grants, account, transaction)
            try transaction.announceDevices()
        }
    }

    /// A revoked device holds nothing any more, and takes part in no switch.
    /// - Throws: `outOfOrder` if it has saved something of a VM since `heads` was known: that would count for nobody.
    private static func endLeases(
        of device: DeviceID, in account: ContentHash, _ heads: [VMID: Sequence], _ transaction: any SQLTransaction
    ) throws {
        let now = try transaction.now()
        let rows = try transaction.run("SELECT id FROM vm WHERE account = ?", [.init(account)])
        for id: VMID in try rows.map({ try $0.checked("id") }) {
            guard let vm = try load(id, at: now, transaction) else { continue }
            if let head = vm.lease.head, head.device == device, head.sequence > heads[id] ?? .base {
                throw VMSyncError(.outOfOrder, "the device has saved something meanwhile", hint: "try the same again")
            }
            var lease = vm.lease
            lease.revoke(device)
            _ = try save(lease, over: vm, nil, transaction)
        }
    }

    private static func setRecovery(
        _ recovery: ContentHash, of account: ContentHash, _ transaction: any SQLTransaction
    ) throws {
        try transaction.run("UPDATE account SET recovery = ? WHERE id = ?", [.init(recovery), .init(account)])
        // What was for the one before opens for nobody any more.
        try transaction.run("DELETE FROM key_grant WHERE account = ? AND recipient = 'recovery'", [.init(account)])
    }

    private static func insert(
        _ entry: [UInt8], number: Int, _ account: ContentHash, _ transaction: any SQLTransaction
    ) throws {
        try transaction.run(
            "INSERT INTO roster (account, number, entry) VALUES (?, ?, ?)",
            [.init(account), .integer(Int64(number)), .bytes(entry)])
    }

    private static func admit(
        _ device: DeviceID, to account: ContentHash, _ transaction: any SQLTransaction
    ) throws {
        guard try transaction.first("SELECT id FROM device WHERE id = ?", [.init(device)]) == nil else {
            throw VMSyncError(.alreadyExists, "\(device) has an account already")
        }
        let now = try transaction.now()
        try transaction.run(
            """
            INSERT INTO device (id, number, account, member, joined, last_seen)
            VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM device), ?, 1, ?, ?)
            """, [.init(device), .init(account), .init(now), .init(now)])
    }

    // MARK: Grants

    package func add(_ grants: [StoredGrant], of account: ContentHash) async throws {
        try await engine.transaction(.write) { transaction in
            try Self.add(grants, account, transaction)
            try transaction.announceDevices()
        }
    }

    private static func add(
        _ grants: [StoredGrant], _ account: ContentHash, _ transaction: any SQLTransaction
    ) throws {
        for grant in grants {
            try transaction.run(
                """
                INSERT INTO key_grant (account, subject, generation, recipient, content) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (account, recipient, subject, generation) DO UPDATE SET content = excluded.content
                """,
                [
                    .init(account), .text(grant.subject), .integer(Int64(grant.generation)), .text(grant.recipient),
                    .bytes(grant.content),
                ])
        }
    }

    package func grants(for recipient: String, of account: ContentHash) async throws -> [[UInt8]] {
        try await engine.transaction(.read) { transaction in
            try transaction.run(
                "SELECT content FROM key_grant WHERE account = ? AND recipient = ? ORDER BY subject, generation",
                [.init(account), .text(recipient)]
            ).map { try $0.bytes("content") }
        }
    }

    // MARK: Applications

    /// Anybody may apply without a word of a member; so not too many at once.
    private static let applicationsMax = 1000

    package func apply(_ application: Application, lifetime: Duration) async throws -> ContentHash? {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            try transaction.run(
                "DELETE FROM application WHERE device = ? OR expires <= ?", [.init(application.device), .init(now)])
            var account: ContentHash?
            if let ticket = application.ticket {
                account = try Self.checkInvitation(ticket, transaction)
                guard account != nil else {
                    throw VMSyncError(.unauthorized, "the invitation is for a new account, not for a device of one")
                }
            } else {
                let count = try transaction.first(
                    "SELECT count(*) AS waiting FROM application WHERE ticket IS NULL"
                )?.integer("waiting")
                guard count ?? 0 < Self.applicationsMax else {
                    throw VMSyncError(
                        .unavailable, "too many devices wait to be admitted",
                        hint: "join with an invitation, or try again in an hour")
                }
            }
            try transaction.run(
                "INSERT INTO application (device, identity, ticket, proof, expires) VALUES (?, ?, ?, ?, ?)",
                [
                    .init(application.device), .bytes(application.identity), .init(application.ticket),
                    application.proof.map { .bytes($0) } ?? .null, .init(now + lifetime),
                ])
            if account != nil { try transaction.announceDevices() }
            return account
        }
    }

    package func application(of device: DeviceID) async throws -> StoredApplication? {
        try await engine.transaction(.read) { transaction in
            let row = try transaction.first(
                "SELECT * FROM application WHERE device = ? AND expires > ?",
                [.init(device), .init(try transaction.now())])
            return try row.map {
                StoredApplication(
                    application: try Application(row: $0), account: try $0.checkedIfPresent("account"),
                    welcome: try $0.bytesIfPresent("welcome"))
            }
        }
    }

    package func applications(to account: ContentHash) async throws -> [Application] {
        try await engine.transaction(.read) { transaction in
            try transaction.run(
                """
                SELECT application.* FROM application JOIN invitation ON invitation.code = application.ticket
                WHERE invitation.account = ? AND invitation.used_by IS NULL
                AND application.account IS NULL AND application.expires > ?
                """, [.init(account), .init(try transaction.now())]
            ).map(Application.init(row:))
        }
    }

    /// Tells a device that applied that it was admitted, and uses its ticket up.
    private static func answer(
        _ device: DeviceID, _ account: ContentHash, _ welcome: [UInt8]?, _ transaction: any SQLTransaction
    ) throws {
        let row = try transaction.first("SELECT * FROM application WHERE device = ?", [.init(device)])
        guard let row else {
            throw VMSyncError(.notFound, "\(device) doesn't ask to join", hint: "on that device: vmsync join")
        }
        if let ticket: ContentHash = try row.checkedIfPresent("ticket") {
            guard try checkInvitation(ticket, transaction) == account else {
                throw VMSyncError(.notFound, "\(device) was invited to another account")
            }
            try useUp(ticket, by: device, transaction)
        }
        try transaction.run(
            "UPDATE application SET account = ?, welcome = ? WHERE device = ?",
            [.init(account), welcome.map { .bytes($0) } ?? .null, .init(device)])
    }
}

extension Application {
    fileprivate init(row: SQLRow) throws {
        self.init(
            device: try row.checked("device"), identity: try row.bytes("identity"),
            ticket: try row.checkedIfPresent("ticket"), proof: try row.bytesIfPresent("proof"))
    }
}
