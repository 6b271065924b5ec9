#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Small files and folders of /sys and /proc. A read may fail at any time with any number: the thing behind it went
/// away.
enum KernelFile {
    struct Failure: Error {
        let number: Int32
        let path: String
        var words: String { "\(path): \(String(cString: strerror(number)))" }
    }

    /// Bytes; a routing table of some thousand lines. What is longer isn't one of the files that are read here.
    private static let sizeMax = 1 << 20
    private static let piece = 16 << 10

    /// The whole text; what isn't UTF-8 is replaced.
    static func text(_ path: String) throws(Failure) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(number: errno, path: path) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: piece)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Failure(number: errno, path: path) }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
            guard bytes.count <= sizeMax else { throw Failure(number: EFBIG, path: path) }
        }
    }

    /// The text without white space at its ends; nil if it can't be read.
    static func word(_ path: String) -> String? {
        guard let text = try? text(path) else { return nil }
        return text.trimmed
    }

    static func number(_ path: String) -> Int64? { word(path).flatMap { Int64($0) } }

    /// The names in a folder, sorted, without `.` and `..`.
    static func names(_ path: String) throws(Failure) -> [String] {
        guard let folder = opendir(path) else { throw Failure(number: errno, path: path) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The last part of where a link points to; nil if there is no link.
    static func linkEnd(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: "/")
            .last.map(String.init)
    }
}

extension StringProtocol {
    /// Without white space at its ends.
    var trimmed: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
