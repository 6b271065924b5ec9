import Foundation
import PostgreSQL
import VMSyncCore

/// The servers that `scripts/with-servers.sh` starts beside the tests.
package enum TestServers {
    /// What opens the S3 server, as a sync server reads it from its environment.
    package static let s3Credentials = ["AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing"]
    /// The bucket that `scripts/s3-server.py` makes.
    package static let bucket = "vmsync-test"

    /// Runs `body` with the URL of a database of its own: a schema, which is also the name of the application.
    package static func withPostgreSQL<Answer>(_ body: (String) async throws -> Answer) async throws -> Answer {
        let url = try variable("VMSYNC_TEST_POSTGRESQL")
        let schema = "test_" + Identifier.random()
        let pool = PostgreSQLPool(url: url, threads: 1)
        try await pool.transaction { _ = try $0.run("CREATE SCHEMA \(schema)") }
        let answer: Result<Answer, any Error>
        do {
            answer = .success(try await body("\(url)&options=-csearch_path%3D\(schema)&application_name=\(schema)"))
        } catch {
            answer = .failure(error)
        }
        try await pool.transaction { _ = try $0.run("DROP SCHEMA \(schema) CASCADE") }
        try await pool.close()
        return try answer.get()
    }

    /// A place for blobs under `prefix`, as a person writes it.
    package static func s3(_ prefix: String = Identifier.random(), bucket: String = bucket) throws -> String {
        "s3://\(bucket)/\(prefix)?endpoint=\(try variable("VMSYNC_TEST_S3"))"
    }

    private static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name] else {
            throw VMSyncError(.wrongState, "\(name) isn't set", hint: "run the tests through scripts/with-servers.sh")
        }
        return value
    }
}
