import NIOCore
import Synchronization

/// Bytes that went over a device's connections to its servers, as they leave and enter TLS: packs, requests, events and
/// their headers, but not what TCP and IP add.
package final class TrafficMeter: Sendable {
    private let counted = Atomic<UInt64>(0)

    package init() {}

    /// Since the meter was made.
    package var bytes: UInt64 { counted.load(ordering: .relaxed) }

    func note(_ count: Int) { counted.add(UInt64(count), ordering: .relaxed) }

    /// What counts on one connection.
    func makeHandler() -> some ChannelHandler & Sendable { TrafficHandler(self) }
}

private final class TrafficHandler: ChannelDuplexHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let meter: TrafficMeter

    init(_ meter: TrafficMeter) { self.meter = meter }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        meter.note(unwrapInboundIn(data).readableBytes)
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        meter.note(unwrapOutboundIn(data).readableBytes)
        context.write(data, promise: promise)
    }
}
