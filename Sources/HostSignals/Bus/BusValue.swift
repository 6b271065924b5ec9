/// A value of a message, as far as this module needs them. What is in a variant stands here without it.
package enum BusValue: Sendable {
    case boolean(Bool)
    case int32(Int32)
    case uint16(UInt16)
    case uint32(UInt32)
    case uint64(UInt64)
    case string(String)
    /// Of an object; libdbus has checked its form.
    case path(String)
    case descriptor(OwnedDescriptor)
    /// Of any other type.
    case other
}

/// The values of an answer or a signal, asked for by place and type.
package struct BusValues: Sendable {
    private let values: [BusValue]

    init(_ values: [BusValue]) { self.values = values }

    private func value(_ place: Int) -> BusValue { place < values.count ? values[place] : .other }

    /// - Throws: `malformed` if something else stands there, or nothing; so do all of these.
    package func boolean(_ place: Int = 0) throws(BusError) -> Bool {
        guard case .boolean(let value) = value(place) else { throw malformed("a boolean", place) }
        return value
    }

    package func int32(_ place: Int = 0) throws(BusError) -> Int32 {
        guard case .int32(let value) = value(place) else { throw malformed("a signed number of 32 bits", place) }
        return value
    }

    package func uint16(_ place: Int = 0) throws(BusError) -> UInt16 {
        guard case .uint16(let value) = value(place) else { throw malformed("a number of 16 bits", place) }
        return value
    }

    package func uint32(_ place: Int = 0) throws(BusError) -> UInt32 {
        guard case .uint32(let value) = value(place) else { throw malformed("a number of 32 bits", place) }
        return value
    }

    package func uint64(_ place: Int = 0) throws(BusError) -> UInt64 {
        guard case .uint64(let value) = value(place) else { throw malformed("a number of 64 bits", place) }
        return value
    }

    package func string(_ place: Int = 0) throws(BusError) -> String {
        guard case .string(let value) = value(place) else { throw malformed("a text", place) }
        return value
    }

    package func path(_ place: Int = 0) throws(BusError) -> String {
        guard case .path(let value) = value(place) else { throw malformed("an object", place) }
        return value
    }

    package func descriptor(_ place: Int = 0) throws(BusError) -> OwnedDescriptor {
        guard case .descriptor(let value) = value(place) else { throw malformed("a file descriptor", place) }
        return value
    }

    private func malformed(_ wanted: String, _ place: Int) -> BusError {
        BusError(.malformed, "value \(place + 1) of an answer on the bus isn't \(wanted)")
    }
}
