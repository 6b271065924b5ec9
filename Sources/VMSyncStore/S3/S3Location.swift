import Foundation
import VMSyncCore

/// Where in an S3-compatible store blobs lie: `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&style=path|host&ca=FILE`.
package struct S3Location: Sendable, Hashable {
    package let bucket: String
    /// What all keys begin with: empty, or ending in a slash.
    package let prefix: String
    /// Such as `https://s3.eu-central-1.amazonaws.com`.
    package let endpoint: URL
    package let region: String
    /// Whether the bucket stands in the path (`endpoint/bucket/key`), or else in the host's name.
    package let isPathStyle: Bool
    /// A file with the certificates that the endpoint's may be signed by, instead of the system's.
    package let certificates: String?

    private static let form = "s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME"

    /// - Throws: `invalidInput`, saying what is wrong with it.
    package init(_ text: String) throws(VMSyncError) {
        guard let parts = URLComponents(string: text), parts.scheme == "s3", let bucket = parts.host, !bucket.isEmpty
        else { throw Self.wrong(text, "it must begin with s3://BUCKET") }
        var options: [String: String] = [:]
        for item in parts.queryItems ?? [] { options[item.name] = item.value ?? "" }
        if let unknown = options.keys.first(where: { !["endpoint", "region", "style", "ca"].contains($0) }) {
            throw Self.wrong(text, "it can't say \"\(unknown)\"")
        }
        let path = parts.path.split(separator: "/").joined(separator: "/")
        guard path.utf8.allSatisfy(Self.isPlain), bucket.utf8.allSatisfy(Self.isPlain) else {
            throw Self.wrong(text, "a bucket or prefix holds a-z, A-Z, 0-9, -, _, . and /")
        }
        let region = options["region"] ?? "us-east-1"
        let endpoint = options["endpoint"] ?? "https://s3.\(region).amazonaws.com"
        guard let url = URL(string: endpoint), url.scheme == "http" || url.scheme == "https", url.host != nil,
            url.path.isEmpty || url.path == "/", url.query == nil
        else { throw Self.wrong(text, "its endpoint must be https://HOST or http://HOST:PORT") }
        let style = options["style"] ?? (options["endpoint"] == nil ? "host" : "path")
        guard style == "path" || style == "host" else { throw Self.wrong(text, "its style is path or host") }
        self.bucket = bucket
        prefix = path.isEmpty ? "" : path + "/"
        self.endpoint = url
        self.region = region
        isPathStyle = style == "path"
        certificates = options["ca"]
    }

    private static func wrong(_ text: String, _ why: String) -> VMSyncError {
        VMSyncError(.invalidInput, "\"\(text)\" is no place for blobs: \(why)", hint: form)
    }

    /// What needs no escape in a path, a query or a signature.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-_./".utf8.contains(byte)
        }
    }

    /// Host and port, as they stand in the header `Host`.
    var host: String {
        let plain = endpoint.host ?? ""
        let port = endpoint.port.map { ":\($0)" } ?? ""
        return (isPathStyle ? "" : bucket + ".") + plain + port
    }

    /// The path of `key` on that host; of the bucket itself for an empty one.
    func path(of key: String) -> String { isPathStyle ? "/\(bucket)/\(key)" : "/\(key)" }

    func url(path: String, query: String) -> String {
        "\(endpoint.scheme ?? "https")://\(host)\(path)" + (query.isEmpty ? "" : "?\(query)")
    }
}

/// What requests to an S3-compatible store are signed with.
package struct S3Credentials: Sendable, Hashable {
    package let accessKey: String
    package let secretKey: String
    /// Of temporary ones.
    package let sessionToken: String?

    package init(accessKey: String, secretKey: String, sessionToken: String? = nil) {
        self.accessKey = accessKey
        self.secretKey = secretKey
        self.sessionToken = sessionToken
    }

    /// From the variables that every S3 client reads.
    /// - Throws: `unauthorized` if they aren't set.
    package init(environment: [String: String]) throws(VMSyncError) {
        guard let access = environment["AWS_ACCESS_KEY_ID"], let secret = environment["AWS_SECRET_ACCESS_KEY"],
            !access.isEmpty, !secret.isEmpty
        else {
            throw VMSyncError(
                .unauthorized, "there are no credentials for the S3 store",
                hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        }
        self.init(accessKey: access, secretKey: secret, sessionToken: environment["AWS_SESSION_TOKEN"])
    }
}
