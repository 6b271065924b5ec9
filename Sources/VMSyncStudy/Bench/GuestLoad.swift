import Foundation
import NIOCore
import NIOPosix
import VMSyncCore

/// A program in the guest that does the same piece of work over and over and tells how many pieces it did.
enum GuestLoad: String, Sendable, Codable, CaseIterable {
    /// Arithmetic in registers.
    case processor
    /// Adds to each word of 16 MiB: all of it is written between two checkpoints, and all of it differs.
    case memory

    /// A piece takes some hundredths of a second under emulation: long beside the telling, short beside a measurement.
    private var source: String {
        switch self {
        case .processor:
            """
            unsigned long x = 1; for (;;) { for (int i = 0; i < 3000000; i++) \
            x = x * 6364136223846793005UL + 1442695040888963407UL; if (x) tell(); }
            """
        case .memory:
            """
            static unsigned long m[2 << 20]; for (;;) { for (int i = 0; i < 2 << 20; i++) m[i] += i; tell(); }
            """
        }
    }

    private var program: String {
        """
        #include <stdio.h>
        static FILE *out; static unsigned n;
        static void tell(void) { fprintf(out, "vmsync-desktop: fact load %u\\n", ++n); fflush(out); }
        int main(void) { out = fopen("/dev/ttyS0", "w"); \(source) }
        """
    }

    /// Starts it at `desk`; it is compiled there.
    func start(on desk: Desk) async throws {
        let code = Data(program.utf8).base64EncodedString()
        // What the load before this one told last is there still; each counts from one.
        let earlier = Self.done(desk) ?? .max
        try await Self.command(
            "cd /tmp; pkill -x load; echo \(code) | base64 -d > load.c; gcc -O1 -o load load.c && exec ./load", desk)
        _ = try await waitFor("the load in the guest", for: .seconds(120)) {
            Self.done(desk).flatMap { $0 < earlier ? true : nil }
        }
    }

    static func stop(on desk: Desk) async throws { try await command("pkill -x load", desk) }

    /// The load tells a line for each piece: the last one is near the end of a log of megabytes.
    private static let tail: UInt64 = 4096

    /// How many pieces were done so far; nil if none.
    static func done(_ desk: Desk) -> Int? {
        var facts = GuestFacts(path: desk.console, earlier: tail)
        try? facts.read()
        let last = facts.all.last { $0.hasPrefix("fact load ") }
        return last.flatMap { Int($0.dropFirst("fact load ".count)) }
    }

    /// Types a command on the guest's console.
    private static func command(_ line: String, _ desk: Desk) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: desk.commands).get()
        try await channel.writeAndFlush(ByteBuffer(string: line + "\n")).get()
        // QEMU takes in no more than the guest reads, and drops the rest when the connection ends.
        try await Task.sleep(for: .seconds(2))
        try await channel.close()
    }
}
