import Foundation
import Logging
import NIOCore
import NIOPosix
import QMP
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncTestSupport

/// Real QEMUs that don't get far.
@Suite("Starting QEMU")
struct QEMULaunchTests {
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    @Test("names the package of a program that isn't installed")
    func missing() async {
        let error = await #expect(throws: VMSyncError.self) {
            try await QEMUTool.run("qemu-system-none", [], package: "qemu-system-some")
        }
        #expect(error?.code == .machine)
        #expect(error?.message.contains("qemu-system-none") == true)
        #expect(error?.hint?.contains("apt-get install qemu-system-some") == true)
    }

    @Test("gives QEMU's own reason when it refuses, and leaves no process behind")
    func refused() async throws {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            let paths = MachinePaths(state: folder, run: folder, memory: folder)
            let settings = Machine.LaunchSettings(
                name: "none", paths: paths, accelerator: .tcg, boot: nil, ramwatch: nil)
            let error = await #expect(throws: VMSyncError.self) {
                try await Machine.launch(
                    .sample(), role: .boot, settings: settings, group: .singletonMultiThreadedEventLoopGroup,
                    logger: logger)
            }
            #expect(error?.code == .machine)
            #expect(error?.message.contains("Failed to connect to '\(paths.disks)'") == true)
            #expect(QEMUProcess.find(paths) == nil)
        }
    }

    @Test("asks each installed QEMU what it can run")
    func capabilities() async throws {
        try await TestFolder.with { folder in
            let host = await HostCapabilities.probe(folder: folder, logger: logger)
            for architecture in MachineDefinition.Architecture.allCases {
                let emulator = try #require(host.emulators[architecture.rawValue])
                #expect(emulator.machines.contains(architecture.machineType))
                #expect(emulator.cpuModels.contains(architecture.cpuModel))
                #expect(host.reasonAgainst(.sample(architecture), savedBy: Saver(qemu: emulator.version)) == nil)
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        }
    }

    @Test("a pid file of another process names no QEMU")
    func foreignProcess() throws {
        try TestFolder.with { folder in
            let paths = MachinePaths(state: folder, run: folder, memory: folder)
            for text in ["\(getpid())\n", "1", "0", "-1", "", "99999999999", "x"] {
                try Data(text.utf8).write(to: URL(fileURLWithPath: paths.pidFile))
                #expect(QEMUProcess.find(paths) == nil)
            }
        }
    }

    @Test("a state that nobody expects is not taken for the next one")
    func unexpectedState() async throws {
        try await TestFolder.with { folder in
            let group = MultiThreadedEventLoopGroup.singleton
            let receiver = try await DeviceStateReceiver.listen(path: folder + "/s", group: group)
            // Only when the other side has closed it is it sure that nobody took it.
            try await Self.send("late", to: folder + "/s", thenClose: false)
            let first = receiver.expect()
            let second = receiver.expect()
            await #expect(throws: CancellationError.self) { try await first.state() }
            try await Self.send("right", to: folder + "/s", thenClose: true)
            #expect(try await String(buffer: second.state()) == "right")
            let cancelled = receiver.expect()
            let waiting = Task { try await cancelled.state() }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { try await waiting.value }
            await receiver.close()
        }
    }

    /// Sends `text` and returns when the connection is closed: by us, or else by the other side.
    private static func send(_ text: String, to path: String, thenClose: Bool) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: path).get()
        // The receiver may close first.
        try? await channel.writeAndFlush(ByteBuffer(string: text))
        if thenClose { try? await channel.close() }
        try? await channel.closeFuture.get()
    }
}
