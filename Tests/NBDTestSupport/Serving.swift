import Logging
import NBD
import NIOCore
import NIOPosix

/// A running server of one export named "disk".
package struct Serving {
    package let server: NBDServer
    package let socket: String
    /// What tools that know NBD URIs are given.
    package let uri: String

    /// Serves `device` while `body` runs, then stops the server.
    @discardableResult
    package static func with<Value>(
        _ device: any BlockDevice, in scratch: Scratch, limits: NBDLimits = NBDLimits(), threads: Int = 4,
        _ body: (Serving) async throws -> Value
    ) async throws -> Value {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
        let socket = scratch.file("s")
        var logger = Logger(label: "nbd")
        logger.logLevel = .error
        let server = try await NBDServer.start(
            path: socket, exports: ["disk": device], group: group, threadPool: pool, logger: logger, limits: limits)
        let serving = Serving(server: server, socket: socket, uri: "nbd+unix:///disk?socket=\(socket)")
        let result: Result<Value, any Error>
        do { result = .success(try await body(serving)) } catch { result = .failure(error) }
        await server.stop()
        try await pool.shutdownGracefully()
        try await group.shutdownGracefully()
        return try result.get()
    }

    /// qemu-io on the export; it prints "failed" or "Pattern verification failed" and exits with 1 when a command does.
    @discardableResult
    package func qemuIO(_ commands: String...) async throws -> String {
        var output = ""
        for command in commands {
            output += try await Tool.qemuIO("-t", "writeback", "-d", "unmap", "-f", "raw", "-c", command, uri)
        }
        return output
    }
}
