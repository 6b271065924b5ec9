import Testing
import VMSyncCheckpoint
import VMSyncMachine

@Suite("The accelerator")
struct AcceleratorTests {
    private let intel =
        "processor\t: 0\nmodel name\t: X\nflags\t\t: fpu vme vmx ssse3\n\nprocessor\t: 1\nflags\t\t: fpu\n"

    @Test("is KVM only where the processor says so and the device opens")
    func choice() {
        #expect(Accelerator.choose(for: .x86_64, host: .x86_64, processor: intel, kvmOpens: true) == .kvm)
        #expect(Accelerator.choose(for: .x86_64, host: .x86_64, processor: intel, kvmOpens: false) == .tcg)
        let amd = "flags : fpu svm\n"
        #expect(Accelerator.choose(for: .x86_64, host: .x86_64, processor: amd, kvmOpens: true) == .kvm)
        for none in ["", "flags\t\t: fpu vme", "flags : vmxnet svm_lock", "power: vmx\n", "vmx svm"] {
            #expect(Accelerator.choose(for: .x86_64, host: .x86_64, processor: none, kvmOpens: true) == .tcg)
        }
        #expect(Accelerator.choose(for: .aarch64, host: .aarch64, processor: "", kvmOpens: true) == .kvm)
    }

    @Test("is never KVM for another architecture than the host's")
    func foreign() {
        #expect(Accelerator.choose(for: .aarch64, host: .x86_64, processor: intel, kvmOpens: true) == .tcg)
        #expect(Accelerator.choose(for: .x86_64, host: .aarch64, processor: intel, kvmOpens: true) == .tcg)
        #expect(Accelerator.choose(for: .x86_64, host: nil, processor: intel, kvmOpens: true) == .tcg)
    }
}
