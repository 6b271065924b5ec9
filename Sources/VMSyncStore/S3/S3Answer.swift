import Foundation
import VMSyncCore

#if canImport(FoundationXML)
    import FoundationXML
#endif

/// The texts of those elements of an XML answer that have nothing but text in them, in order.
///
/// Answers of S3 are flat enough for that: names don't mean different things at different places.
struct S3Answer {
    private let texts: [(name: String, text: String)]

    /// - Throws: `corrupt` unless it is XML.
    init(_ bytes: Data) throws(VMSyncError) {
        let collector = Collector()
        let parser = XMLParser(data: bytes)
        parser.delegate = collector
        guard parser.parse() else { throw VMSyncError(.corrupt, "the S3 store answered with something that isn't XML") }
        texts = collector.texts
    }

    func all(_ name: String) -> [String] { texts.filter { $0.name == name }.map(\.text) }

    func first(_ name: String) -> String? { texts.first { $0.name == name }?.text }

    private final class Collector: NSObject, XMLParserDelegate {
        var texts: [(name: String, text: String)] = []
        private var text = ""

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
            attributes: [String: String]
        ) { text = "" }

        func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }

        func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
            texts.append((name, text))
            text = ""
        }
    }
}
