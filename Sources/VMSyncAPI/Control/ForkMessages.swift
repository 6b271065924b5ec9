import VMSyncCore

/// A fork of late work, as a person sees it. `GET /vms/NAME/forks`
package struct KeptFork: Sendable, Codable {
    package var id: String
    /// The checkpoint that it begins at.
    package var parent: Sequence
    /// The last moment in it, in seconds since 1970 by its device's clock.
    package var until: Double
    package var bytes: UInt64
    /// Why it doesn't reach up to the moment at which the guest was stopped, if so.
    package var missing: String?
    package var picture: PictureMessage?

    package init(
        id: String, parent: Sequence, until: Double, bytes: UInt64, missing: String?, picture: PictureMessage?
    ) {
        self.id = id
        self.parent = parent
        self.until = until
        self.bytes = bytes
        self.missing = missing
        self.picture = picture
    }
}

/// `POST /vms/NAME/forks/keep`, `POST /vms/NAME/forks/drop`
package struct ForkOrder: Sendable, Codable {
    package var id: String
    /// What to call the VM that is made of it.
    package var name: String?

    package init(id: String, name: String? = nil) {
        self.id = id
        self.name = name
    }
}
