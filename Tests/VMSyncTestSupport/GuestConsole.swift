import NIOCore
import NIOPosix

/// The serial console of the small guest, on which each line is a shell command.
package struct GuestConsole: Sendable {
    private let channel: any Channel

    /// Types on the console at `socket` in `body`. The connection stays for all of it: QEMU takes in no more than the
    /// guest reads, and drops the rest when the connection ends.
    package static func with<Result>(
        _ socket: String, _ body: (GuestConsole) async throws -> Result
    ) async throws -> Result {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: socket).get()
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(GuestConsole(channel: channel))) } catch { result = .failure(error) }
        try? await channel.close()
        return try result.get()
    }

    package func type(_ command: String) async throws {
        try await channel.writeAndFlush(ByteBuffer(string: command + "\n"))
    }
}
