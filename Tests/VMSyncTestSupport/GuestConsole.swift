import NIOCore
import NIOPosix

/// The serial console of the small guest, on which each line is a shell command.
package enum GuestConsole {
    package static func type(_ command: String, socket: String) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: socket).get()
        try await channel.writeAndFlush(ByteBuffer(string: command + "\n"))
        try await channel.close()
    }
}
