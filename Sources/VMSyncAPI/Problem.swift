import VMSyncCore

/// An error on the wire: `application/problem+json`.
package struct Problem: Sendable, Codable {
    package static let mediaType = "application/problem+json"

    package let title: String
    package let status: Int
    package let code: VMSyncError.Code
    package let detail: String
    package let hint: String?
    package let device: String?

    /// - Parameter status: the HTTP status, if it says more than the code's own.
    package init(_ error: VMSyncError, status: Int? = nil) {
        let status = status ?? Self.status(of: error.code)
        self.title = Self.title(of: status)
        self.status = status
        self.code = error.code
        self.detail = error.message
        self.hint = error.hint
        self.device = error.device
    }

    package var error: VMSyncError { VMSyncError(code, detail, hint: hint, device: device) }

    /// The HTTP status that stands for a code.
    package static func status(of code: VMSyncError.Code) -> Int {
        switch code {
        case .invalidInput: 400
        case .unauthorized: 401
        case .notFound: 404
        case .alreadyExists, .leaseHeld, .fenced, .outOfOrder, .wrongState, .incompatible: 409
        case .corrupt: 422
        case .unavailable: 503
        case .noSpace: 507
        default: 500
        }
    }

    private static func title(of status: Int) -> String {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 404: "Not Found"
        case 409: "Conflict"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 416: "Range Not Satisfiable"
        case 422: "Unprocessable Content"
        case 503: "Service Unavailable"
        case 507: "Insufficient Storage"
        default: "Internal Server Error"
        }
    }
}
