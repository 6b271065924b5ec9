import Crypto
import Foundation
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Signs requests as "AWS Signature Version 4" has it, with a signed body, in headers.
/// (docs.aws.amazon.com, "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk")
package struct S3Signature {
    package let credentials: S3Credentials
    package let region: String

    package init(credentials: S3Credentials, region: String) {
        self.credentials = credentials
        self.region = region
    }

    /// The SHA-256 of no bytes, as a request without a body says it.
    package static let emptyBody = ContentHash(digest: SHA256.hash(data: [UInt8]()))

    /// All headers that the request must carry besides `headers`, `Host` among them.
    /// - Parameters:
    ///   - path: with every byte escaped that needs it.
    ///   - query: names and values, as they are before escaping.
    ///   - headers: further ones to be signed, with names in lower case.
    package func headers(
        method: String, host: String, path: String, query: [(String, String)] = [],
        headers: [(String, String)] = [], body: ContentHash, at time: Timestamp
    ) -> [(String, String)] {
        let moment = Self.moment(time)
        var own = [("host", host), ("x-amz-content-sha256", body.rawValue), ("x-amz-date", moment)]
        if let token = credentials.sessionToken { own.append(("x-amz-security-token", token)) }
        let signed = (own + headers).sorted { $0.0 < $1.0 }
        let names = signed.map(\.0).joined(separator: ";")
        let canonical = [
            method, path, Self.query(query), signed.map { "\($0.0):\($0.1)\n" }.joined(), names, body.rawValue,
        ].joined(separator: "\n")
        let day = String(moment.prefix(8))
        let scope = "\(day)/\(region)/s3/aws4_request"
        let text = ["AWS4-HMAC-SHA256", moment, scope, Self.hex(SHA256.hash(data: Data(canonical.utf8)))]
            .joined(separator: "\n")
        let signature = Self.hex(Self.code(Data(text.utf8), key(for: day)))
        let credential = "\(credentials.accessKey)/\(scope)"
        let authorization =
            "AWS4-HMAC-SHA256 Credential=\(credential),SignedHeaders=\(names),Signature=\(signature)"
        return own + [("authorization", authorization)]
    }

    private func key(for day: String) -> Data {
        var key = Data("AWS4\(credentials.secretKey)".utf8)
        for part in [day, region, "s3", "aws4_request"] { key = Self.code(Data(part.utf8), key) }
        return key
    }

    private static func code(_ data: Data, _ key: Data) -> Data {
        Data(HMAC<SHA256>.authenticationCode(for: data, using: SymmetricKey(data: key)))
    }

    private static func hex(_ bytes: some Swift.Sequence<UInt8>) -> String { ContentHash(digest: bytes).rawValue }

    /// The query in the order and with the escapes that are signed; it is sent so too.
    package static func query(_ items: [(String, String)]) -> String {
        items.map { "\(escaped($0.0))=\(escaped($0.1))" }.sorted().joined(separator: "&")
    }

    /// Everything but unreserved characters, slashes too. (RFC 3986, 2.3)
    private static func escaped(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Such as `20130524T000000Z`.
    private static func moment(_ time: Timestamp) -> String {
        var seconds = time_t(time.rawValue / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        return String(
            format: "%04d%02d%02dT%02d%02d%02dZ", Int(parts.tm_year) + 1900, Int(parts.tm_mon) + 1,
            Int(parts.tm_mday), Int(parts.tm_hour), Int(parts.tm_min), Int(parts.tm_sec))
    }
}
