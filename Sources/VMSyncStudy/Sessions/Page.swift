/// A page of the sessions' web: an article with pictures. What it holds follows from seed and number alone.
package struct Page: Sendable, Hashable {
    package let seed: UInt64
    package let number: Int

    package init(seed: UInt64, number: Int) {
        self.seed = seed
        self.number = number
    }

    /// Where it lies on the server.
    package var path: String { "/story/\(seed)/\(number)" }
    /// What the browser shows as its window's title.
    package var title: String { "Story \(seed).\(number)." }

    /// Pictures are as large as those of a newspaper's front page.
    static let picture = (width: 420, height: 280)

    private var random: SessionRandom { SessionRandom(seed: seed, stream: UInt64(number)) }
    private var pictures: Int {
        var random = random
        return random.number(3...5)
    }

    package var html: String {
        var prose = Prose(random: random)
        var body = "<h1>\(prose.sentence())</h1>\n"
        for picture in 0..<pictures {
            body += "<p>\(prose.paragraph(sentences: 4...9))</p>\n<p><img src=\"\(path)/\(picture).bmp\" "
            body += "width=\"\(Self.picture.width)\" height=\"\(Self.picture.height)\" alt=\"\"></p>\n"
            for _ in 0..<3 { body += "<p>\(prose.paragraph(sentences: 3...8))</p>\n" }
        }
        return """
            <!DOCTYPE html>
            <html><head><meta charset="utf-8"><title>\(title)</title>
            <style>body { font-family: serif; margin: 0 6em } h1 { color: #224466 }
            a { display: block; padding: 70px; text-align: center; background: #dde6ee }</style></head>
            <body><a href="\(Page(seed: seed, number: number + 1).path)">the next story</a>\(body)</body></html>

            """
    }

    /// The bytes of one of its pictures; nil if it hasn't so many.
    package func picture(_ index: Int) -> [UInt8]? {
        guard (0..<pictures).contains(index) else { return nil }
        var random = SessionRandom(seed: seed, stream: UInt64(number) << 8 | UInt64(index + 1))
        return Picture.bitmap(width: Self.picture.width, height: Self.picture.height, random: &random)
    }
}
