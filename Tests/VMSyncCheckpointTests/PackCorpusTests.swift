import Foundation
import Testing
import VMSyncPackFuzzing
import VMSyncTestSupport

/// What a fuzzer found once must stay right (CONTRIBUTING.md, "Fuzzing").
@Suite("The corpus of the fuzzer")
struct PackCorpusTests {
    private static let folder = URL(fileURLWithPath: Repository.path + "/FuzzTesting/Corpus")

    @Test("every input is refused, or is a pack that stays itself when it is written again or merged")
    func corpus() throws {
        let fuzzer = PackFuzzer()
        var (taken, refused) = (0, 0)
        for file in try FileManager.default.contentsOfDirectory(at: Self.folder, includingPropertiesForKeys: nil) {
            switch fuzzer.verdict(on: Array(try Data(contentsOf: file))) {
            case .taken: taken += 1
            case .refused: refused += 1
            case .wrong(let complaint): Issue.record("\(file.lastPathComponent): \(complaint)")
            }
        }
        // An empty folder, or a recipe that has changed so much that no input is a pack any more, would prove nothing.
        #expect(taken >= 100 && refused >= 100, "\(taken) taken, \(refused) refused")
    }
}
