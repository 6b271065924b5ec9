import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import VMSyncCore
import VMSyncPolicy

/// What a device asks of another one. (docs/protocol/direct.md)
extension SyncClient {
    package static let directPath = "/direct/vms"
    /// A device in the same house is reached at once, or not at all: a switch waits for it.
    package static let directConnect = TimeAmount.milliseconds(400)
    /// It may be busy with a checkpoint.
    private static let directPatience = TimeAmount.seconds(5)
    /// The last state is small. Where it takes longer, the guest goes on where it was.
    private static let lastPatience = TimeAmount.seconds(20)
    /// Then it is asked again, which may be done as often as one likes.
    private static let grantPatience = TimeAmount.seconds(15)

    /// How far the device is with a VM.
    package func directStanding(of vm: VMID) async throws -> DirectStanding {
        let response = try await send(.GET, "\(Self.directPath)/\(vm)", timeout: Self.directPatience)
        return try await answer(of: response)
    }

    /// Sends a pack, and returns when the device has applied it.
    /// - Parameter isLast: whether the guest stands still for it.
    package func push(
        _ pack: DirectPack, from source: PackSource, of vm: VMID, isLast: Bool
    ) async throws -> DirectStanding {
        let query = "epoch=\(pack.epoch)&units=\(pack.units)"
        return try await answer(
            of: try await send(
                .PUT, "\(Self.directPath)/\(vm)/packs/\(pack.sequence)?\(query)",
                body: .stream(PackStream(source: source, size: pack.size), length: .known(Int64(pack.size))),
                timeout: isLast ? Self.lastPatience : Self.transferTimeout))
    }

    /// Gives the VM away; returns when it runs there, or was refused.
    /// - Throws: whatever it is, it isn't known then whether the device has taken it.
    package func grant(_ handovers: Handovers, of vm: VMID) async throws -> DirectVerdict {
        let response = try await send(
            .POST, "\(Self.directPath)/\(vm)/grant", headers: [("Content-Type", "application/json")],
            body: .bytes(try WireJSON.encode(handovers)), timeout: Self.grantPatience)
        return try await answer(of: response)
    }

    /// Asks for the VM; returns when it runs here.
    package func askForHandover(of vm: VMID) async throws -> SwitchRecord {
        let response = try await send(.POST, "\(Self.directPath)/\(vm)/handover", timeout: Self.transferTimeout)
        return try await answer(of: response)
    }
}

/// The bytes of a pack, read as the link takes them.
private struct PackStream: AsyncSequence, Sendable {
    private static let portion = 1 << 20

    let source: PackSource
    let size: UInt64

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(source: source, size: size) }

    struct AsyncIterator: AsyncIteratorProtocol {
        let source: PackSource
        let size: UInt64
        private var offset: UInt64 = 0

        init(source: PackSource, size: UInt64) {
            self.source = source
            self.size = size
        }

        mutating func next() async throws -> ByteBuffer? {
            guard offset < size else { return nil }
            let part = try await source.part(
                at: offset, count: Int(Swift.min(size - offset, UInt64(PackStream.portion))))
            offset += UInt64(part.readableBytes)
            return part
        }
    }
}
