import VMSyncMachine

/// A desktop guest that runs, as a session sees it: a screen with keyboard and pointer, what the guest says on its
/// console, and the web.
package struct Desk: Sendable {
    /// Unix socket of the VM's VNC server.
    package var vnc: String
    /// The file in which QEMU logs the guest's console.
    package var console: String
    /// Unix socket of that console, for lines to the guest.
    package var commands: String
    package let pages: PageServer

    package init(vnc: String, console: String, commands: String, pages: PageServer) {
        self.vnc = vnc
        self.console = console
        self.commands = commands
        self.pages = pages
    }

    /// The desk of a VM of a device's daemon.
    package init(_ paths: MachinePaths, pages: PageServer) {
        self.init(vnc: paths.vnc, console: paths.consoleLog, commands: paths.console, pages: pages)
    }
}
