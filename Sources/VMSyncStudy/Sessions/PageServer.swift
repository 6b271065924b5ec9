import Foundation
import Hummingbird
import Logging
import NIOCore
import Synchronization
import VMSyncCore

/// The web of the sessions, on this machine's loopback, where a guest's user-mode network finds it as 10.0.2.2: pages that
/// follow from a seed, and the packages of the "install" session. It counts what it gave away.
package final class PageServer: Sendable {
    /// What was asked for and given.
    package struct Counts: Sendable, Hashable {
        package var pages = 0
        package var pictures = 0
        package var packages = 0
    }

    /// The host, as every guest of QEMU's user-mode network sees it.
    package static let hostInGuest = "10.0.2.2"

    package let port: Int
    private let counted: Counter
    private let service: Task<Void, any Error>

    private final class Counter: Sendable {
        let counts = Mutex(Counts())
        func add(_ kind: any WritableKeyPath<Counts, Int> & Sendable) { counts.withLock { $0[keyPath: kind] += 1 } }
    }

    private init(port: Int, counted: Counter, service: Task<Void, any Error>) {
        self.port = port
        self.counted = counted
        self.service = service
    }

    deinit { service.cancel() }

    /// Serves for the time of `body`.
    /// - Parameter packages: folder of the packages to serve as /packages/NAME; nil serves none.
    static func with<Result>(
        packages: String? = nil, _ body: (PageServer) async throws -> Result
    ) async throws -> Result {
        let pages = try await start(packages: packages)
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(pages)) } catch { result = .failure(error) }
        await pages.stop()
        return try result.get()
    }

    /// Starts it, on a free port.
    /// - Parameter packages: folder of the packages to serve as /packages/NAME; nil serves none.
    package static func start(packages: String? = nil) async throws -> PageServer {
        let counted = Counter()
        let (ports, announce) = AsyncStream.makeStream(of: Int.self)
        var quiet = Logger(label: "pages")
        quiet.logLevel = .critical
        let application = Application(
            router: router(counted, packages: packages),
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in announce.yield(channel.localAddress?.port ?? 0) }, logger: quiet)
        let service = Task {
            defer { announce.finish() }
            try await application.run()
        }
        for await port in ports where port > 0 { return PageServer(port: port, counted: counted, service: service) }
        try await service.value
        throw VMSyncError(.unavailable, "the sessions' page server didn't start")
    }

    package var counts: Counts { counted.counts.withLock { $0 } }

    /// Ends it.
    package func stop() async {
        service.cancel()
        _ = try? await service.value
    }

    private static func router(_ counted: Counter, packages: String?) -> Router<BasicRequestContext> {
        let router = Router()
        router.get("story/:seed/:number") { _, context in
            let page = try page(context)
            counted.add(\.pages)
            return answer(Array(page.html.utf8), type: "text/html")
        }
        router.get("story/:seed/:number/:picture") { _, context in
            let name = try context.parameters.require("picture")
            guard name.hasSuffix(".bmp"), let index = Int(name.dropLast(4)),
                let bytes = try page(context).picture(index)
            else { throw HTTPError(.notFound) }
            counted.add(\.pictures)
            return answer(bytes, type: "image/bmp")
        }
        router.get("packages/:name") { _, context in
            let name = try context.parameters.require("name")
            guard let packages, !name.contains("/"), name.hasSuffix(".deb"),
                let bytes = FileManager.default.contents(atPath: "\(packages)/\(name)")
            else { throw HTTPError(.notFound) }
            counted.add(\.packages)
            return answer(Array(bytes), type: "application/octet-stream")
        }
        return router
    }

    private static func page(_ context: BasicRequestContext) throws -> Page {
        guard let seed = UInt64(try context.parameters.require("seed")),
            let number = Int(try context.parameters.require("number")), (0..<1_000_000).contains(number)
        else { throw HTTPError(.notFound) }
        return Page(seed: seed, number: number)
    }

    private static func answer(_ bytes: [UInt8], type: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: type, .cacheControl: "max-age=3600"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
