// swift-tools-version: 6.2
import PackageDescription

// Modules point one way: a target may import the vmsync targets that it lists here, all of them in lower rows.
// The rows and the reason of each arrow stand in ARCHITECTURE.md.

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let nioFoundation: Target.Dependency = .product(name: "NIOFoundationCompat", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let certificates: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioConcurrency: Target.Dependency = .product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let hummingbirdTLS: Target.Dependency = .product(name: "HummingbirdTLS", package: "hummingbird")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let signals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

/// A library target of this package under the strict settings.
func module(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

/// The tests of `name`; they see what a user of the module sees, never its internals.
func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies, swiftSettings: strict)
}

let package = Package(
    name: "vmsync",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "vmsync", targets: ["vmsync"]),
        .executable(name: "vmsync-sim", targets: ["vmsync-sim"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1.git", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates.git", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess.git", from: "1.0.2"),
    ],
    targets: [
        // Rows 0 and 1: C; words everybody uses, and protocol libraries that know nothing of vmsync.
        module("VMSyncCore"),
        .target(name: "CVMSyncLinux"),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        module("QMP", [log, nioCore, nioPosix], exclude: ["README.md"]),
        module("NBD", [log, nioCore, nioPosix], exclude: ["README.md"]),
        module("RFB", [nioCore, nioPosix], exclude: ["README.md"]),
        .systemLibrary(name: "CPostgreSQL", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        module("PostgreSQL", ["CPostgreSQL", nioPosix], exclude: ["README.md"]),
        .systemLibrary(name: "CDBus", pkgConfig: "dbus-1", providers: [.apt(["libdbus-1-dev"])]),
        module("HostSignals", ["CDBus", log], exclude: ["README.md"]),

        // Row 2: pure decisions and formats: no I/O, no clock, no await.
        module("VMSyncCheckpoint", ["VMSyncCore", "CZstd", "CXXHash"]),
        module("VMSyncPolicy", ["VMSyncCore"]),
        module("VMSyncSecrets", ["VMSyncCore", crypto, certificates, asn1]),

        // Row 3: one live machine; the wire; the stores.
        module(
            "VMSyncMachine",
            [
                "VMSyncCore", "VMSyncCheckpoint", "QMP", "NBD", "CVMSyncLinux", "CXXHash", log, nioCore, nioPosix,
                subprocess,
            ]),
        module(
            "VMSyncAPI",
            [
                "VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", log, nioCore, nioPosix, nioHTTP1, nioSSL, nioTLS,
                nioConcurrency, httpClient, crypto,
            ]),
        module(
            "VMSyncStore",
            [
                "VMSyncCore", "VMSyncPolicy", "PostgreSQL", nioCore, nioPosix, nioFoundation, nioHTTP1, nioSSL,
                httpClient, crypto, grdb,
            ]),

        // Row 4: what the HTTP servers have in common; one VM's state on one device.
        module("VMSyncHTTP", ["VMSyncCore", "VMSyncAPI", hummingbird, nioCore]),
        module(
            "VMSyncReplica",
            ["VMSyncCore", "VMSyncPolicy", "VMSyncCheckpoint", "VMSyncMachine", "CVMSyncLinux", log]),

        // Row 5: the sync server; a device's daemon.
        module(
            "VMSyncServer",
            [
                "VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", "VMSyncAPI", "VMSyncHTTP", "VMSyncStore", nioCore,
                nioPosix, hummingbird, hummingbirdTLS, crypto, lifecycle, log,
            ]),
        module(
            "VMSyncDevice",
            [
                "VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", "VMSyncAPI", "VMSyncHTTP", "VMSyncCheckpoint",
                "VMSyncMachine", "VMSyncReplica", "HostSignals", "QMP", "NBD", "CVMSyncLinux", hummingbird,
                hummingbirdTLS, httpClient, crypto, lifecycle, signals, log, nioCore, nioPosix,
            ]),

        // Row 5 too: a seeded world of devices, links and faults, for the decisions of row 2.
        module("VMSyncSimulation", ["VMSyncCore", "VMSyncPolicy"]),

        // Row 6: whole trials on one machine: the demo, and what the end-to-end tests live in.
        module(
            "VMSyncStudy",
            [
                "VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", "VMSyncAPI", "VMSyncCheckpoint", "VMSyncMachine",
                "VMSyncReplica", "VMSyncDevice", "NBD", "QMP", "RFB", "CVMSyncLinux", hummingbird, crypto, log, nioCore,
                nioPosix,
            ]),

        // Row 7: the command lines.
        .executableTarget(
            name: "vmsync",
            dependencies: [
                "VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", "VMSyncAPI", "VMSyncServer", "VMSyncDevice",
                "VMSyncStudy", "CVMSyncLinux", arguments, lifecycle, signals, log,
            ],
            swiftSettings: strict),

        .executableTarget(
            name: "vmsync-sim", dependencies: ["VMSyncSimulation", arguments], swiftSettings: strict),

        // Tests: each sees of its module what any other module sees.
        tests("VMSyncCore"),
        tests("QMP", [log, nioCore, nioPosix]),
        .target(
            name: "NBDTestSupport", dependencies: ["NBD", log, nioCore, nioPosix, subprocess],
            path: "Tests/NBDTestSupport", swiftSettings: strict),
        tests("NBD", ["NBDTestSupport", log, nioCore, nioPosix]),
        tests("RFB", [nioCore, nioPosix]),
        tests(
            "VMSyncStudy",
            ["VMSyncCore", "VMSyncMachine", "VMSyncTestSupport", "RFB", httpClient, nioCore, nioPosix]),
        tests("VMSyncPolicy", ["VMSyncCore", "VMSyncTestSupport"]),
        tests("VMSyncSimulation"),
        tests("PostgreSQL"),
        .target(
            name: "HostSignalsTestSupport", dependencies: ["HostSignals"], path: "Tests/HostSignalsTestSupport",
            swiftSettings: strict),
        tests("HostSignals", ["HostSignalsTestSupport", log]),
        tests("VMSyncSecrets", ["VMSyncCore", crypto]),
        tests("VMSyncStore", ["VMSyncCore", "VMSyncPolicy", "VMSyncTestSupport", "PostgreSQL", nioCore, crypto]),
        tests("VMSyncAPI", ["VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", nioCore]),
        tests(
            "VMSyncServer",
            [
                "VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", "VMSyncAPI", "VMSyncTestSupport", "vmsync", nioCore,
                nioPosix, nioHTTP1, nioSSL, httpClient, crypto, log,
            ]),
        // What the tests share: seeded randomness, folders, the small guest under a real QEMU.
        .target(
            name: "VMSyncTestSupport",
            dependencies: [
                "VMSyncCore", "VMSyncCheckpoint", "VMSyncMachine", "VMSyncReplica", "PostgreSQL", "NBD", log, nioCore,
                nioPosix,
            ],
            path: "Tests/VMSyncTestSupport", swiftSettings: strict),

        // One input of a fuzzer, tried on all that reads packs; the tests try the inputs that a fuzzer has found.
        .target(
            name: "VMSyncPackFuzzing", dependencies: ["VMSyncCore", "VMSyncCheckpoint"],
            path: "FuzzTesting/Sources/VMSyncPackFuzzing", swiftSettings: strict),
        tests("VMSyncCheckpoint", ["VMSyncCore", "VMSyncTestSupport", "VMSyncPackFuzzing"]),
        tests(
            "VMSyncMachine",
            [
                "VMSyncCore", "VMSyncCheckpoint", "VMSyncTestSupport", "QMP", "NBD", "NBDTestSupport", "CVMSyncLinux",
                log, nioCore, nioPosix,
            ]),
        tests(
            "VMSyncReplica",
            ["VMSyncCore", "VMSyncCheckpoint", "VMSyncMachine", "VMSyncTestSupport", "QMP", nioCore, log]),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "VMSyncCore", "VMSyncPolicy", "VMSyncSecrets", "VMSyncAPI", "VMSyncCheckpoint", "VMSyncMachine",
                "VMSyncDevice", "VMSyncStudy", "VMSyncTestSupport", "HostSignalsTestSupport", "QMP", "vmsync",
                subprocess, nioCore, nioPosix,
                nioConcurrency, grdb, log,
            ], swiftSettings: strict),
    ]
)

// The fuzzer (`make fuzz`) is built by itself, with other compiler flags: of the format alone, so that it is soon there.
if Context.environment["VMSYNC_FUZZ"] == "1" {
    let format: Set = ["VMSyncCore", "VMSyncCheckpoint", "VMSyncPackFuzzing", "CZstd", "CXXHash"]
    package.products = []
    package.targets.removeAll { !format.contains($0.name) }
    package.targets.append(
        .executableTarget(
            name: "packfuzz", dependencies: ["VMSyncPackFuzzing"], path: "FuzzTesting/Sources/packfuzz",
            swiftSettings: strict))
}
