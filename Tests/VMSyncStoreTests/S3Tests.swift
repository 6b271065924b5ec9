import Foundation
import NIOCore
import Testing
import VMSyncCore
import VMSyncStore
import VMSyncTestSupport

@Suite("Blobs in an S3 store") struct S3Tests {
    private static func credentials() throws -> S3Credentials {
        try S3Credentials(environment: TestServers.s3Credentials)
    }

    /// A store under a prefix of its own.
    static func withStore(_ body: (S3BlobStore) async throws -> Void) async throws {
        let store = try await S3BlobStore(S3Location(TestServers.s3()), credentials: credentials())
        try await body(store)
        try await store.close()
    }

    @Test(arguments: BlobStoreContract.clauses)
    func keepsTheContract(_ clause: Clause<any BlobStore>) async throws {
        try await Self.withStore { try await clause.check($0) }
    }

    @Test("a listing goes over many pages, and knows only its own prefix") func listing() async throws {
        try await Self.withStore { store in
            try await Self.withStore { other in
                _ = try await BlobStoreContract.put([1], in: other)
                var ids: Set<BlobID> = []
                for _ in 0..<7 { ids.insert(try await BlobStoreContract.put([1], in: store)) }
                var pages = 0
                var found: [BlobID] = []
                for try await page in store.list(pageMax: 3) {
                    pages += 1
                    found += page
                }
                #expect(pages == 3)
                #expect(Set(found) == ids && found.count == 7)
            }
        }
    }

    @Test("a bucket that isn't there, a wrong key and no server are told apart") func refusals() async throws {
        let absent = try S3Location(TestServers.s3(bucket: "vmsync-absent"))
        let right = try Self.credentials()
        #expect(await code { _ = try await S3BlobStore(absent, credentials: right) } == .notFound)
        let wrong = S3Credentials(accessKey: right.accessKey, secretKey: "wrong")
        let there = try S3Location(TestServers.s3())
        #expect(await code { _ = try await S3BlobStore(there, credentials: wrong) } == .unauthorized)
        #expect(await code { _ = try S3Credentials(environment: [:]) } == .unauthorized)
        let nowhere = try S3Location("s3://bucket?endpoint=http://127.0.0.1:1")
        #expect(await code { _ = try await S3BlobStore(nowhere, credentials: wrong) } == .unavailable)
    }

    @Test("a place is read from a URL, with what everybody's defaults are")
    func places() throws {
        let plain = try S3Location("s3://bucket/a//b/?region=eu-central-1")
        #expect(plain.bucket == "bucket" && plain.prefix == "a/b/" && !plain.isPathStyle)
        #expect(plain.endpoint.absoluteString == "https://s3.eu-central-1.amazonaws.com")
        let own = try S3Location("s3://bucket?endpoint=http://127.0.0.1:9000")
        #expect(own.isPathStyle && own.prefix.isEmpty && own.region == "us-east-1")
        #expect(try S3Location("s3://bucket?endpoint=https://host&style=host").isPathStyle == false)
    }

    @Test(arguments: [
        "", "bucket", "http://bucket", "s3://", "s3://bucket?endpoint=host", "s3://bucket?endpoint=http://h/path",
        "s3://bucket?style=odd", "s3://bucket?colour=red", "s3://bucket/sp%20ace",
    ])
    func whatIsNoPlaceIsRefused(_ text: String) async {
        #expect(await code { _ = try S3Location(text) } == .invalidInput)
    }
}

/// The examples of Amazon's documentation, "Signature Calculations for the Authorization Header".
@Suite("Signatures of S3 requests") struct S3SignatureTests {
    private let signature = S3Signature(
        credentials: S3Credentials(
            accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        region: "us-east-1")
    /// 2013-05-24T00:00:00Z
    private let time = Timestamp(rawValue: 1_369_353_600_000)

    private func signed(
        _ method: String, _ path: String, query: [(String, String)] = [], headers: [(String, String)] = [],
        body: ContentHash = S3Signature.emptyBody
    ) -> String? {
        let all = signature.headers(
            method: method, host: "examplebucket.s3.amazonaws.com", path: path, query: query, headers: headers,
            body: body, at: time)
        return all.first { $0.0 == "authorization" }?.1
    }

    @Test func ofAPartOfAnObject() {
        #expect(
            signed("GET", "/test.txt", headers: [("range", "bytes=0-9")])
                == "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                + "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
                + "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    }

    @Test func ofAnObjectThatIsPut() throws {
        let body = try #require(
            ContentHash(rawValue: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"))
        let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")]
        #expect(
            signed("PUT", "/test%24file.text", headers: headers, body: body)?.hasSuffix(
                "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd") == true)
    }

    @Test func ofAQuery() {
        #expect(
            signed("GET", "/", query: [("lifecycle", "")])?.hasSuffix(
                "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543") == true)
        #expect(
            signed("GET", "/", query: [("prefix", "J"), ("max-keys", "2")])?.hasSuffix(
                "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7") == true)
    }

    @Test func ofTemporaryCredentials() {
        let signature = S3Signature(
            credentials: S3Credentials(accessKey: "a", secretKey: "b", sessionToken: "c"), region: "r")
        let all = signature.headers(method: "GET", host: "h", path: "/", body: S3Signature.emptyBody, at: time)
        #expect(all.contains { $0 == ("x-amz-security-token", "c") })
        #expect(all.last?.1.contains("x-amz-security-token,") == true)
    }
}
