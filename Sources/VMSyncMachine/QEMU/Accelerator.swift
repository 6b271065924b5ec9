#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCheckpoint

/// What runs the guest's instructions.
package enum Accelerator: String, Sendable, Codable {
    case kvm
    case tcg

    /// The accelerator for a guest of `architecture` on this host.
    package static func choose(for architecture: MachineDefinition.Architecture) -> Accelerator {
        let processor = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        return choose(
            for: architecture, host: .host, processor: processor, kvmOpens: access("/dev/kvm", R_OK | W_OK) == 0)
    }

    /// KVM only where the processor says that it can: /dev/kvm may open, and even make a VM, on a host that then can't
    /// run an ordinary guest.
    package static func choose(
        for architecture: MachineDefinition.Architecture, host: MachineDefinition.Architecture?, processor: String,
        kvmOpens: Bool
    ) -> Accelerator {
        guard kvmOpens, host == architecture else { return .tcg }
        switch architecture {
        case .aarch64:
            // A kernel started at EL2 offers KVM; /proc/cpuinfo has no word for it.
            return .kvm
        case .x86_64:
            let flags = processor.split(separator: "\n").first { $0.hasPrefix("flags") } ?? ""
            let words = flags.split(separator: " ")
            return words.contains("vmx") || words.contains("svm") ? .kvm : .tcg
        }
    }
}

extension MachineDefinition.Architecture {
    /// The architecture of this host; nil if vmsync has no guest for it.
    package static var host: MachineDefinition.Architecture? {
        #if arch(x86_64)
            .x86_64
        #elseif arch(arm64)
            .aarch64
        #else
            nil
        #endif
    }

    /// The program that runs it.
    package var qemuProgram: String { "qemu-system-\(rawValue)" }
    /// The Debian package that has it.
    package var qemuPackage: String { self == .x86_64 ? "qemu-system-x86" : "qemu-system-arm" }
}
