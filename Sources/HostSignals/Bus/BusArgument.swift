/// What is sent with a call.
package enum BusArgument: Sendable {
    case text(String)
    case int32(Int32)
    case uint32(UInt32)
    case uint16(UInt16)
    /// No byte strings, where a list of them is asked for.
    case noByteStrings
}
