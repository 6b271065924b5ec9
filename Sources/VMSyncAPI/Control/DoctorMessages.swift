/// `GET /doctor`
package struct DoctorReport: Sendable, Codable {
    package var findings: [Finding]
    /// Of each VM and each device, by their names.
    package var fits: [Fit]

    package init(findings: [Finding], fits: [Fit]) {
        self.findings = findings
        self.fits = fits
    }
}

/// Something that this device can do, or can't.
package struct Finding: Sendable, Codable {
    package enum Verdict: String, Sendable, Codable {
        case good = "ok"
        case warning
        case bad = "problem"
    }

    package var subject: String
    package var verdict: Verdict
    package var detail: String
    package var hint: String?

    package init(_ subject: String, _ verdict: Verdict, _ detail: String, hint: String? = nil) {
        self.subject = subject
        self.verdict = verdict
        self.detail = detail
        self.hint = hint
    }
}

/// Whether a VM moves to a device. (docs/unlike-devices.md)
package struct Fit: Sendable, Codable {
    package enum Verdict: String, Sendable, Codable {
        /// Running.
        case live
        /// Shut down there, booted here.
        case cold
        case no
        /// The device has not told what it can run.
        case unknown
    }

    package var vm: String
    package var device: String
    package var verdict: Verdict
    /// Why not running.
    package var reason: String?

    package init(vm: String, device: String, _ verdict: Verdict, reason: String? = nil) {
        self.vm = vm
        self.device = device
        self.verdict = verdict
        self.reason = reason
    }
}
