import Foundation

/// A client that says whatever a test wants it to say. Blocks, with a deadline on every read.
final class RawClient {
    struct Closed: Error {}
    private let socket: Int32

    init(_ path: String) throws {
        socket = Foundation.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var deadline = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &deadline, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &deadline, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { throw Closed() }
    }

    deinit { close() }

    private var isOpen = true
    func close() {
        if isOpen { Foundation.close(socket) }
        isOpen = false
    }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw Closed() }
            rest = rest.dropFirst(count)
        }
    }

    func receive(_ count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var chunk = [UInt8](repeating: 0, count: count - bytes.count)
            let got = recv(socket, &chunk, chunk.count, 0)
            guard got > 0 else { throw Closed() }
            bytes += chunk[..<got]
        }
        return bytes
    }

    /// True if the server has closed the connection, after whatever it still had to say.
    func isClosedByServer() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let got = recv(socket, &chunk, chunk.count, 0)
            if got == 0 || (got < 0 && errno == ECONNRESET) { return true }
            if got < 0 { return false }
        }
    }

    // MARK: - The protocol

    func handshake(flags: UInt32 = 3) throws {
        let greeting = try receive(18)
        guard greeting.starts(with: Array("NBDMAGICIHAVEOPT".utf8)) else { throw Closed() }
        try send(big(flags))
    }

    func option(_ number: UInt32, _ data: [UInt8] = [], length: UInt32? = nil) throws {
        try send(Array("IHAVEOPT".utf8) + big(number) + big(length ?? UInt32(data.count)) + data)
    }

    /// The type and the data of the next reply to an option.
    func optionReply() throws -> (type: UInt32, data: [UInt8]) {
        let head = try receive(20)
        return (number(head[12..<16]), try receive(Int(number(head[16..<20]) as UInt32)))
    }

    /// Enters the transmission phase the old way, without structured replies.
    static func ready(_ path: String) throws -> RawClient {
        let client = try RawClient(path)
        try client.handshake()
        try client.option(1, Array("disk".utf8))
        _ = try client.receive(10)
        return client
    }

    func request(_ command: UInt16, flags: UInt16 = 0, cookie: UInt64 = 7, at offset: UInt64, _ length: UInt32) throws {
        try send(head(command, flags: flags, cookie: cookie, at: offset, length))
    }

    /// A request as it stands on the wire, without its payload.
    func head(_ command: UInt16, flags: UInt16 = 0, cookie: UInt64, at offset: UInt64, _ length: UInt32) -> [UInt8] {
        big(0x2560_9513 as UInt32) + big(flags) + big(command) + big(cookie) + big(offset) + big(length)
    }

    /// The head of the next simple reply.
    func simpleReply() throws -> (error: UInt32, cookie: UInt64) {
        let head = try receive(16)
        guard head.starts(with: big(0x6744_6698 as UInt32)) else { throw Closed() }
        return (number(head[4..<8]), number(head[8..<16]))
    }

    /// The error of the next simple reply.
    func simpleError() throws -> UInt32 { number(try receive(16)[4..<8]) }

    func big(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

    func number<Value: FixedWidthInteger>(_ bytes: some Sequence<UInt8>) -> Value {
        bytes.reduce(0) { $0 << 8 | Value($1) }
    }
}
