/// What saved a VM's device state: only the like of it is known to load that.
package struct Saver: Hashable, Sendable {
    /// Version of the QEMU: "7.2.22".
    package var qemu: String
    /// By what the guest's processor was run: "kvm", "tcg"; nil if that isn't known.
    package var accelerator: String?

    package init(qemu: String, accelerator: String? = nil) {
        self.qemu = qemu
        self.accelerator = accelerator
    }
}
