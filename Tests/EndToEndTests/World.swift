import Foundation
import Logging
import NIOPosix
import QMP
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncStudy

/// All tests that run whole devices, one after the other: each has QEMUs of its own.
@Suite(.serialized) enum EndToEnd {}

/// What the end-to-end tests run: the `vmsync` that was built with them, and the small guests.
enum World {
    /// The `vmsync` beside the test bundle, or the one that VMSYNC_PROGRAM names.
    static func program() throws -> String {
        if let named = ProcessInfo.processInfo.environment["VMSYNC_PROGRAM"] { return named }
        let bundle = try #require(
            CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments.first)
        let path = URL(fileURLWithPath: bundle).deletingLastPathComponent().appending(path: "vmsync").path
        try #require(FileManager.default.isExecutableFile(atPath: path), "\(path) is not built")
        return path
    }

    /// The small guest of `architecture`; built now if it isn't there.
    static func guest(_ architecture: String = "x86_64") async throws -> SmallGuest {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let standard = root.appending(path: ".build/guests").path
        let folder = "\(ProcessInfo.processInfo.environment["VMSYNC_GUESTS"] ?? standard)/\(architecture)"
        // Builds nothing when nothing has changed.
        let built = try await run(root.appending(path: "guests/small/build.sh").path, [architecture, folder])
        try #require(built.code == 0, "the guest can't be built: \(built.errors)")
        return try SmallGuest(architecture: architecture, folder: folder)
    }

    /// What a QEMU does that no daemon talks to.
    static func runState(_ paths: MachinePaths) async throws -> QMPRunState {
        let qmp = try await QMPClient.connect(
            path: paths.qmp, group: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
        let status = try await qmp.execute(QMPQueryStatus()).status
        await qmp.close()
        return status
    }

    /// Two devices, A and B, and a server. Everything is gone afterwards.
    static func withDevices<Result: Sendable>(
        interval: Double = 0.5, _ body: (Trial) async throws -> Result
    ) async throws -> Result {
        try await Trial.with(program: try program()) { trial in
            try await trial.startServer()
            for name in ["A", "B"] { try await trial.addDevice(name, interval: interval) }
            return try await body(trial)
        }
    }

    /// The small guest runs on A; B, which stands by, and the server are on the other side of a cable.
    static func withGuestApart(_ body: (inout Stage, ShapedLink) async throws -> Void) async throws {
        let guest = try await guest()
        try await ShapedLink.with { link in
            try await Trial.with(program: try program(), link: link) { trial in
                try await trial.startServer()
                try await trial.addDevice("A", interval: 0.5)
                try await trial.addDevice("B", isFar: true, interval: 0.5)
                try await trial.create(guest)
                try await trial.tell("A", "start", Done())
                var stage = try await Stage(trial, active: "A", standby: "B")
                try await stage.waitForGuest(counts: 12)
                try await trial.waitUntilReady("B")
                try await body(&stage, link)
            }
        }
    }

    /// The small guest runs on A, and B stands by.
    static func withGuest(
        _ architecture: String = "x86_64", interval: Double = 0.5, _ body: (inout Stage) async throws -> Void
    ) async throws {
        let guest = try await guest(architecture)
        try await withDevices(interval: interval) { trial in
            try await trial.create(guest)
            try await trial.tell("A", "start", Done())
            var stage = try await Stage(trial, active: "A", standby: "B")
            // Twelve counts: by then the guest has written to its disk with fsync.
            try await stage.waitForGuest(counts: 12)
            try await trial.waitUntilReady("B")
            try await body(&stage)
        }
    }
}

extension Trial {
    /// Makes the VM of the trial, on A, and waits until B has heard of it.
    nonisolated func create(_ guest: SmallGuest) async throws {
        try await create(guest, on: "A")
        _ = try await waitFor("B to know the VM") { try await self.vm("B") }
    }

    /// Waits until the daemon of `device` has died of a planted fault.
    nonisolated func waitForCrash(of device: String) async throws {
        _ = try await waitFor("the daemon of \(device) to meet its fault") {
            await self.daemonIsRunning(device) ? nil : true
        }
    }

    /// Ends the daemon of `device` in order and starts it again, with a fault planted.
    func restart(_ device: String, fault: String? = nil, interval: Double = 0.5) async throws {
        await endDaemon(device, SIGTERM)
        try await startDaemon(device, fault: fault, interval: interval)
    }

    /// The state of the one VM on `device`.
    nonisolated func state(_ device: String) async throws -> VMStatus {
        try #require(try await vm(device), "\(device) knows no VM")
    }
}

/// What `body` throws.
func failure(_ body: () async throws -> Void) async -> VMSyncError? {
    do { try await body() } catch { return VMSyncError(error) }
    return nil
}
