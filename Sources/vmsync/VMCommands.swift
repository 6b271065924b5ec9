import ArgumentParser
import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

struct CreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a VM from a disk image.",
        discussion: """
            The image is copied, in pieces, to the server, from where your other devices fetch it; the file itself is \
            not changed and not needed afterwards. Interrupted, nothing is half made, and the next try sends only what \
            hasn't arrived.

              vmsync create work --disk debian-12.qcow2 --memory 2G
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "What to call it.") var name: String
    @Option(help: "A disk image: qcow2, raw, vmdk, vdi or vhdx.") var disk: String
    @Option(help: "Guest memory, such as 512M or 2G.") var memory: ByteSize
    @Option(help: "Processor cores.") var cores = 2
    @Option(help: "x86_64 or aarch64.") var arch = "x86_64"
    @Option(help: "A CPU model that all your devices can run. (default: one from 2008)") var cpu: String?
    @Option(help: "A kernel to start directly, for images without a boot loader.") var kernel: String?
    @Option(help: "The kernel's initial RAM disk.") var initrd: String?
    @Option(help: "The kernel's command line.") var append: String?
    @Flag(help: "Give it a sound card; so far nobody hears it.") var sound = false

    func run() async throws {
        let request = CreateRequest(
            name: name, disk: absolute(disk), memory: memory.bytes, cores: cores, architecture: arch, cpuModel: cpu,
            kernel: kernel.map(absolute), initrd: initrd.map(absolute), commandLine: append, sound: sound)
        let created = try await common.withDaemon {
            try await common.run($0, ControlPath.vms, request, as: String.self)
        }
        if common.json { return try Output.json(["name": created]) }
        Output.line("created \(created)\n  next: vmsync start \(created)")
    }

    private func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
}

/// "512M", "2G", "1048576".
struct ByteSize: ExpressibleByArgument {
    let bytes: UInt64

    init?(argument: String) {
        let shifts: [Character: UInt64] = ["K": 10, "M": 20, "G": 30, "T": 40]
        let text = argument.uppercased()
        let shift = text.last.flatMap { shifts[$0] }
        guard let number = UInt64(shift == nil ? text[...] : text.dropLast()), number > 0,
            number <= UInt64.max >> (shift ?? 0)
        else { return nil }
        bytes = number << (shift ?? 0)
    }
}

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Show all VMs.", aliases: ["ls"])

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let status = try await common.withDaemon { try await $0.get(ControlPath.status, as: DaemonStatus.self) }
        if common.json { return try Output.json(status.vms) }
        Output.table(
            ["NAME", "STATE", "ACTIVE ON", "CHECKPOINT", "SAVED"],
            status.vms.map { vm in
                [
                    vm.name, vm.state.rawValue, vm.activeDevice ?? "-", "\(vm.sequence)",
                    vm.savedSecondsAgo.map { "\(Output.age($0)) ago" } ?? "-",
                ]
            })
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show what each VM does, what is saved, and what is wrong.")

    @OptionGroup var common: CommonOptions
    @Argument(help: "Name of a VM. (default: all)") var name: String?

    func run() async throws {
        var status = try await common.withDaemon { try await $0.get(ControlPath.status, as: DaemonStatus.self) }
        if let name {
            status.vms = status.vms.filter { $0.name == name || $0.id.rawValue.hasPrefix(name) }
            guard !status.vms.isEmpty else {
                throw VMSyncError(.notFound, "there is no VM \"\(name)\"", hint: "vmsync list")
            }
        }
        if common.json { return try Output.json(status) }
        Output.line(
            "\(status.device)  server \(status.server) \(status.serverAnswers ? "answers" : "does not answer")")
        for vm in status.vms { show(vm) }
    }

    private func show(_ vm: VMStatus) {
        Output.line("\n\(vm.name)  \(vm.state.rawValue)" + (vm.activeDevice.map { ", runs on \($0)" } ?? ""))
        if let step = vm.progress { Output.line("  \(Output.text(step))") }
        if let base = vm.base {
            Output.line(
                "  \(ByteCount(base.missing)) of the base image's \(ByteCount(base.size)) are still to come"
                    + (base.isAwaited ? "; the VM waits for some of it" : ""))
            if let problem = base.problem { Output.line("    \(problem.message)") }
        }
        if let age = vm.savedSecondsAgo {
            Output.line(
                "  saved to the server \(Output.age(age)) ago (checkpoint \(vm.head)), "
                    + "\(ByteCount(vm.notUploadedBytes)) not uploaded")
        } else {
            Output.line("  nothing saved yet")
        }
        if let sync = vm.sync { Output.line("  \(sync.words)") }
        if vm.forks > 0 {
            Output.line("  \(vm.forks) forks of late work are kept here\n    next: vmsync forks \(vm.name)")
        }
        for other in vm.others where other.forks > 0 {
            Output.line(
                "  \(other.name ?? "another device") keeps \(other.forks) forks of late work: vmsync forks, there")
        }
        if vm.sequence < vm.head { Output.line("  this device holds checkpoint \(vm.sequence)") }
        if let last = vm.lastCheckpoint {
            let pause = String(format: "%.1f", last.pauseMilliseconds)
            Output.line("  last checkpoint: pause \(pause) ms, \(ByteCount(last.packBytes))")
        }
        if let machine = vm.machine {
            Output.line("  QEMU \(machine.state), \(machine.accelerator), memory tracking: \(machine.tracking)")
            if let clock = machine.clock {
                Output.line(String(format: "  the guest's clock was set, and is %.3f s off", clock.skewSeconds))
            }
        }
        if let problem = vm.problem {
            Output.line("  problem: \(problem.message)" + (problem.hint.map { "\n    next: \($0)" } ?? ""))
        }
    }
}

struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Run a VM on this device: boot it, or go on where it was.",
        aliases: ["resume"])

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument

    func run() async throws {
        let order = StartRequest(force: false)
        _ = try await common.withDaemon { try await common.run($0, vm.path("start"), order, as: Done.self) }
        if common.json { return try Output.json(["name": vm.name, "state": "Active"]) }
        Output.line("\(vm.name) runs\n  next: vmsync view \(vm.name)")
    }
}

struct SuspendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "suspend", abstract: "Save a VM and stop it; it goes on from there on any device.",
        discussion: "Not virsh's suspend, which only pauses: here everything is on the server when the command ends.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument

    func run() async throws {
        _ = try await common.withDaemon { try await common.run($0, vm.path("suspend"), Done(), as: Done.self) }
        if common.json { return try Output.json(["name": vm.name, "state": "Suspended"]) }
        Output.line("\(vm.name) is saved and stopped\n  next, on any device: vmsync start \(vm.name)")
    }
}

struct StopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop", abstract: "Shut a VM down, as its power button does.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument
    @Flag(help: "Pull the plug; the guest gets no chance to save.") var force = false

    func run() async throws {
        _ = try await common.withDaemon {
            try await common.run($0, vm.path("stop"), StopRequest(force: force), as: Done.self)
        }
        if common.json { return try Output.json(["name": vm.name, "state": "Stopped"]) }
        Output.line("\(vm.name) is shut down; its disks are saved")
    }
}

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read all that this standby holds and compare it with its checkpoint.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument

    func run() async throws {
        let found = try await common.withDaemon {
            try await $0.post(vm.path("verify"), as: Verification.self)
        }
        if common.json {
            try Output.json(found)
        } else {
            Output.line("checkpoint \(found.sequence): \(found.matches ? "intact" : "DAMAGED") (\(found.recomputed))")
        }
        if !found.matches { throw ExitCode(1) }
    }
}

struct ViewCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "view", abstract: "Open the VM's screen.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var vm: VMArgument

    /// Viewers that take a unix socket, best first, with the arguments before it.
    private static let viewers: [(program: String, prefix: String)] = [
        ("remote-viewer", "vnc+unix://"), ("gvncviewer", ""), ("xtigervncviewer", ""), ("vncviewer", ""),
    ]

    func run() async throws {
        let status = try await common.withDaemon { try await $0.get(ControlPath.status, as: DaemonStatus.self) }
        guard let found = status.vms.first(where: { $0.name == vm.name }) else {
            throw VMSyncError(.notFound, "there is no VM \"\(vm.name)\"", hint: "vmsync list")
        }
        guard let machine = found.machine, found.state == .active else {
            throw VMSyncError(
                .wrongState, "\(vm.name) doesn't run on this device", hint: "vmsync switch \(vm.name)")
        }
        if common.json { return try Output.json(["vnc": machine.vncSocket]) }
        for viewer in Self.viewers {
            guard let program = Self.find(viewer.program) else { continue }
            let process = Process()
            process.executableURL = URL(fileURLWithPath: program)
            process.arguments = [viewer.prefix + machine.vncSocket]
            try process.run()
            process.waitUntilExit()
            return
        }
        throw VMSyncError(
            .notFound, "no VNC viewer is installed; the screen is at the unix socket \(machine.vncSocket)",
            hint: "sudo apt-get install tigervnc-viewer")
    }

    private static func find(_ program: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }
}
