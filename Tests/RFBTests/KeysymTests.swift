import RFB
import Testing

@Suite("Keys")
struct KeysymTests {
    @Test("every letter of the keyboard has a key, and shift where its keyboard has it")
    func letters() {
        let plain = "abcdefghijklmnopqrstuvwxyz0123456789`-=[]\\;',./ "
        let shifted = "ABCDEFGHIJKLMNOPQRSTUVWXYZ~!@#$%^&*()_+{}|:\"<>?"
        for letter in plain + shifted {
            let key = Keysym.typing(letter)
            #expect(key?.keysym == letter.unicodeScalars.first?.value)
            #expect(key?.shifted == shifted.contains(letter))
        }
        #expect(plain.count + shifted.count == 95)
        #expect(Keysym.typing("\n")?.keysym == Keysym.enter)
        for letter in "äé€\u{7F}\u{0}" { #expect(Keysym.typing(letter) == nil) }
    }
}
