import Foundation
import VMSyncCore
import VMSyncMachine

/// The library that is preloaded into QEMU, built from its source for the tests.
package enum Ramwatch {
    /// Compiles the library into `folder`; takes a tenth of a second.
    package static func build(in folder: String) async throws -> String {
        let library = folder + "/libramwatch.so"
        try await QEMUTool.run(
            "cc",
            [
                "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library,
                Repository.path + "/Sources/ramwatch/ramwatch.c", "-ldl",
            ],
            package: "gcc")
        return library
    }
}
