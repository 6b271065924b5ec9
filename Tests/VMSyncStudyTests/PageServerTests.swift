import AsyncHTTPClient
import Foundation
import NIOCore
import Testing
import VMSyncStudy

@Suite("The web of the desktop's sessions")
struct PageServerTests {
    private func get(_ server: PageServer, _ path: String) async throws -> (status: UInt, body: [UInt8]) {
        let request = HTTPClientRequest(url: "http://127.0.0.1:\(server.port)\(path)")
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        let body = try await response.body.collect(upTo: 8 << 20)
        return (response.status.code, Array(body.readableBytesView))
    }

    @Test("serves a page and its pictures, the same each time, and counts them")
    func serves() async throws {
        let server = try await PageServer.start()
        let page = Page(seed: 4, number: 2)
        let first = try await get(server, page.path)
        #expect(first.status == 200)
        #expect(first.body == Array(page.html.utf8))
        let html = String(decoding: first.body, as: UTF8.self)
        #expect(html.contains("<title>\(page.title)</title>"))
        let pictures = html.matches(of: #/src="([^"]+)"/#).map { String($0.1) }
        #expect(pictures.count >= 3)
        for path in pictures {
            let picture = try await get(server, path)
            #expect(picture.status == 200)
            #expect(picture.body.prefix(2) == ArraySlice("BM".utf8))
            // The length that the file's header says.
            let length = picture.body[2..<6].reversed().reduce(0) { $0 << 8 | Int($1) }
            #expect(picture.body.count == length)
        }
        #expect(try await get(server, page.path).body == first.body)
        #expect(server.counts.list == [2, pictures.count, 0])
        await server.stop()
    }

    @Test("serves packages of its folder, and nothing else")
    func packages() async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/pages-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data("package".utf8).write(to: URL(fileURLWithPath: folder + "/a_1.deb"))
        try Data("secret".utf8).write(to: URL(fileURLWithPath: folder + "/b.txt"))
        let server = try await PageServer.start(packages: folder)
        #expect(try await get(server, "/packages/a_1.deb").body == Array("package".utf8))
        for path in [
            "/packages/b.txt", "/packages/..%2Fa_1.deb", "/packages/none.deb", "/story/1/x", "/story/1/2/99.bmp",
        ] {
            #expect(try await get(server, path).status == 404, "\(path)")
        }
        #expect(server.counts.list == [0, 0, 1])
        await server.stop()
    }

    @Test("other pages have other words and pictures, and a picture is grainy")
    func different() throws {
        let (one, other) = (Page(seed: 1, number: 1), Page(seed: 1, number: 2))
        #expect(one.html != other.html)
        #expect(one.html != Page(seed: 2, number: 1).html)
        let picture = try #require(one.picture(0))
        #expect(try #require(other.picture(0)) != picture)
        #expect(one.picture(5) == nil)
        // Neighbours in a row mostly differ: no flat areas.
        let row = Array(picture[54..<54 + 1200])
        #expect(zip(row, row.dropFirst(3)).count { $0 != $1 } > 900)
    }
}

extension PageServer.Counts {
    /// Pages, pictures and packages, in this order.
    fileprivate var list: [Int] { [pages, pictures, packages] }
}
