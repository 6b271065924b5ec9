import Foundation
import HostSignals

/// A folder with the kernel's files as a test wants them, which is removed at the end.
struct FixtureTree: ~Copyable {
    let root: String

    init() throws {
        root = "/tmp/vmsync-test-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    var paths: HostPaths { HostPaths(sys: root, proc: root, net: "\(root)/net") }

    func folder(_ path: String) throws {
        try FileManager.default.createDirectory(atPath: "\(root)/\(path)", withIntermediateDirectories: true)
    }

    func write(_ text: String, to path: String) throws {
        try folder((path as NSString).deletingLastPathComponent)
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(root)/\(path)"))
    }

    func link(_ path: String, to target: String) throws {
        try folder((path as NSString).deletingLastPathComponent)
        try FileManager.default.createSymbolicLink(atPath: "\(root)/\(path)", withDestinationPath: target)
    }

    /// A folder of `class/power_supply`, each file with one line.
    func supply(_ name: String, _ files: [String: String]) throws {
        for (file, word) in files { try write("\(word)\n", to: "class/power_supply/\(name)/\(file)") }
    }
}
