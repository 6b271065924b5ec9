import Foundation
import Testing
import VMSyncAPI

@Suite struct JSONValueTests {
    @Test func anyJSONComesThroughUnchanged() throws {
        let text = #"{"a":[1,-2,2.5,true,false,null,"x","1"],"b":{"c_d":{}},"e":9007199254740993}"#
        let value = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        #expect(String(decoding: try encoder.encode(value), as: UTF8.self) == text)
    }

    @Test func aValueCanTravelAsJSON() throws {
        struct Capabilities: Codable, Equatable {
            let qemu: String
            let cpus: [String]
            let memory: Int
        }
        let told = Capabilities(qemu: "7.2.22", cpus: ["qemu64"], memory: 1 << 40)
        #expect(try JSONValue(encoding: told).decoded(as: Capabilities.self) == told)
    }
}
