import Foundation
import Logging
import NBD
import NIOPosix
import VMSyncCore
import VMSyncMachine

/// One NBD server with a disk of its own, ready for clients.
struct NBDBenchServer: Sendable {
    enum Kind: String, Sendable, CaseIterable, Codable {
        case vmsync
        case qemuRaw = "qemu-nbd raw"
        case nbdkit = "nbdkit file"
        case qemuQcow2 = "qemu-nbd qcow2"

        /// What the server promises about an acknowledged WRITE and FLUSH, and what else it can do with the disk.
        var promise: String {
            switch self {
            case .vmsync:
                "copy-on-write over a base, in order of modification, frozen at any moment; "
                    + "WRITE survives the process, FLUSH the power"
            case .qemuRaw, .nbdkit: "a plain file; WRITE survives the process, FLUSH the power"
            case .qemuQcow2:
                "copy-on-write over a base; WRITE into a new cluster is lost with the process until FLUSH, "
                    + "for its tables are cached in it; FLUSH survives the power"
            }
        }
    }

    let kind: Kind
    let uri: String
    private let running: Running

    private enum Running {
        case here(NBDServer, OverlayDisk)
        case child(ChildProcess)
    }

    /// Makes the disk in `folder` and starts the server on it.
    init(_ kind: Kind, folder: String, diskBytes: Int) async throws {
        let place = "\(folder)/\(kind)"
        try AtomicFile.makeFolder(place)
        let (socket, image) = ("\(place)/s", "\(place)/disk")
        self.kind = kind
        switch kind {
        case .vmsync:
            uri = "nbd+unix:///\(MachinePaths.exportName(0))?socket=\(socket)"
            running = try await Self.ours(place, socket, diskBytes)
        case .qemuRaw:
            uri = "nbd+unix:///?socket=\(socket)"
            try await Self.makeEmpty(image, diskBytes)
            running = .child(try await Self.qemuNBD("raw", image, socket))
        case .nbdkit:
            uri = "nbd+unix:///?socket=\(socket)"
            try await Self.makeEmpty(image, diskBytes)
            running = .child(try await Self.start("nbdkit", ["-f", "-U", socket, "file", image], socket))
        case .qemuQcow2:
            uri = "nbd+unix:///?socket=\(socket)"
            let base = "\(place)/base"
            try await Self.makeEmpty(base, diskBytes)
            try await QEMUTool.run(
                "qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", image], package: "qemu-utils")
            running = .child(try await Self.qemuNBD("qcow2", image, socket))
        }
    }

    func end() async {
        switch running {
        case .here(let server, _): await server.stop()
        case .child(let process): await process.end()
        }
    }

    /// As a device's daemon serves it: the same threads, the same limits.
    private static func ours(_ place: String, _ socket: String, _ diskBytes: Int) async throws -> Running {
        let (base, folder) = ("\(place)/base", "\(place)/overlay")
        try await makeEmpty(base, diskBytes)
        try OverlayDisk.create(folder: folder, base: base, size: UInt64(diskBytes))
        let disk = try OverlayDisk.open(
            folder: folder, base: base, size: UInt64(diskBytes), bootID: try OverlayDisk.currentBootID())
        let server = try await NBDServer.start(
            path: socket, exports: [MachinePaths.exportName(0): disk], group: MultiThreadedEventLoopGroup.singleton,
            threadPool: .singleton, logger: Logger(label: "vmsync.bench"))
        return .here(server, disk)
    }

    /// With the cache mode that qemu-nbd has by default, writeback.
    private static func qemuNBD(_ format: String, _ image: String, _ socket: String) async throws -> ChildProcess {
        try await start("qemu-nbd", ["-f", format, "-k", socket, "-t", "-e", "4", image], socket)
    }

    /// Starts a server and waits for its socket.
    private static func start(_ name: String, _ arguments: [String], _ socket: String) async throws -> ChildProcess {
        // Through env, which finds it by PATH and becomes it.
        let process = try ChildProcess("/usr/bin/env", [name] + arguments, log: "\(socket).log")
        do {
            _ = try await waitFor("\(name) to listen", for: .seconds(10)) {
                guard process.isRunning else {
                    throw VMSyncError(
                        .notFound, "\(name) ended: \(process.output)", hint: "scripts/install-deps.sh --for bench")
                }
                return FileManager.default.fileExists(atPath: socket) ? true : nil
            }
        } catch {
            await process.end()
            throw error
        }
        return process
    }

    private static func makeEmpty(_ image: String, _ bytes: Int) async throws {
        try await QEMUTool.run("truncate", ["-s", "\(bytes)", image], package: "coreutils")
    }
}
