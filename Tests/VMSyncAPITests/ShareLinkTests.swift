import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

@Suite("Links to shares") struct ShareLinkTests {
    private func link(uses: Int? = 1, allow: ShareTerms.Permission = .run) -> ShareLink {
        let start = Timestamp(rawValue: 1_700_000_000_000)
        return ShareLink(
            server: ServerAddress(host: "box.example", port: 7430, id: .random()),
            terms: ShareTerms(
                id: .random(), start: start, expires: start + .seconds(7200), uses: uses, allow: allow),
            key: .random())
    }

    @Test("what is passed on is what was made", arguments: [(nil, "run"), (3, "disk")] as [(Int?, String)])
    func roundTrip(uses: Int?, allow: String) throws {
        let made = link(uses: uses, allow: try #require(ShareTerms.Permission(rawValue: allow)))
        #expect(try ShareLink(made.url) == made)
        #expect(try ShareLink("  \(made.url)\n") == made)
        #expect(made.url.contains("from=20231114T221320Z&until=20231115T001320Z"))
        // What no server must see stands behind the #.
        #expect(!made.url.split(separator: "#")[0].contains(made.key.text))
    }

    @Test("a link of which anything was changed or lost is refused") func changed() throws {
        let made = link()
        var wrong = [
            made.url.replacing("uses=1", with: "uses=9"), made.url.replacing("&uses=1", with: ""),
            made.url.replacing("until=2023", with: "until=2033"), made.url.replacing("from=2023", with: "from=2013"),
            made.url.replacing("allow=run", with: "allow=disk"), made.url.replacing("https", with: "http"),
            made.url.replacing("/share/", with: "/other/"), made.url.replacing("uses=1", with: "uses=x"),
            made.url.replacing("until=", with: "until=x"), String(made.url.split(separator: "#")[0]),
            made.url.replacing(".\(made.key.text)", with: ""),
            made.url.replacing(made.key.text, with: ShareKey.random().text),
            made.url.replacing(made.terms.id.rawValue, with: ShareID.random().rawValue),
            made.url.replacing("tag=\(made.tag)", with: "tag=\(link().tag)"),
            made.url.replacing("&tag=\(made.tag)", with: ""),
            "", "https://box.example:7430/", "work",
        ]
        for length in [10, 60, 120, made.url.count - 1] { wrong.append(String(made.url.prefix(length))) }
        for url in wrong {
            #expect(url != made.url)
            let error = #expect(throws: VMSyncError.self, "\(url)") { try ShareLink(url) }
            #expect(error?.code == .invalidInput, "\(url)")
        }
    }
}
