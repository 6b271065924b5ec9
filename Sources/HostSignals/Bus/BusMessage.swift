import CDBus

/// One message, held as long as this lives. libdbus has checked its header, and that its body fits its signature.
struct BusMessage: ~Copyable {
    let handle: OpaquePointer

    /// Takes `handle` over.
    init(_ handle: OpaquePointer) { self.handle = handle }

    deinit { dbus_message_unref(handle) }

    /// A call.
    /// - Throws: `malformed` without memory, or if a text holds a NUL.
    static func call(
        _ method: String, of target: BusTarget, _ arguments: [BusArgument]
    ) throws(BusError) -> BusMessage {
        guard let handle = dbus_message_new_method_call(target.service, target.path, target.interface, method)
        else { throw BusError(.malformed, "a call of \(method) can't be written") }
        let message = BusMessage(handle)
        // Who isn't there is to be reported as absent, not to be started.
        dbus_message_set_auto_start(handle, 0)
        var iterator = DBusMessageIter()
        dbus_message_iter_init_append(handle, &iterator)
        for argument in arguments {
            guard append(argument, to: &iterator) else {
                throw BusError(.malformed, "a call of \(method) can't be written")
            }
        }
        return message
    }

    private static func append(_ argument: BusArgument, to iterator: inout DBusMessageIter) -> Bool {
        switch argument {
        case .text(let text):
            guard !text.utf8.contains(0) else { return false }
            return text.withCString { text in append(Optional(text), BusType.string, to: &iterator) }
        case .int32(let number): return append(number, BusType.int32, to: &iterator)
        case .uint32(let number): return append(number, BusType.uint32, to: &iterator)
        case .uint16(let number): return append(number, BusType.uint16, to: &iterator)
        case .noByteStrings:
            var inner = DBusMessageIter()
            return dbus_message_iter_open_container(&iterator, BusType.array, "ay", &inner) != 0
                && dbus_message_iter_close_container(&iterator, &inner) != 0
        }
    }

    /// - Parameter type: that of `value`.
    private static func append(
        _ value: some BitwiseCopyable, _ type: Int32, to iterator: inout DBusMessageIter
    ) -> Bool {
        var value = value
        return dbus_message_iter_append_basic(&iterator, type, &value) != 0
    }

    var type: Int32 { dbus_message_get_type(handle) }
    /// Of the call that this answers; 0 if it answers none.
    var answeredSerial: UInt32 { dbus_message_get_reply_serial(handle) }
    var sender: String? { dbus_message_get_sender(handle).map { String(cString: $0) } }
    var path: String? { dbus_message_get_path(handle).map { String(cString: $0) } }
    var interface: String? { dbus_message_get_interface(handle).map { String(cString: $0) } }
    var member: String? { dbus_message_get_member(handle).map { String(cString: $0) } }

    /// What an error says: its name and its words.
    var failure: BusError {
        let name = dbus_message_get_error_name(handle).map { String(cString: $0) } ?? "an error without a name"
        return BusError(.refused(name), (try? values.string()) ?? name)
    }

    var values: BusValues {
        var iterator = DBusMessageIter()
        guard dbus_message_iter_init(handle, &iterator) != 0 else { return BusValues([]) }
        var values: [BusValue] = []
        repeat { values.append(Self.value(&iterator)) } while dbus_message_iter_next(&iterator) != 0
        return BusValues(values)
    }

    private static func value(_ iterator: inout DBusMessageIter) -> BusValue {
        switch dbus_message_iter_get_arg_type(&iterator) {
        case BusType.boolean: .boolean(basic(&iterator, UInt32(0)) != 0)
        case BusType.int32: .int32(basic(&iterator, 0))
        case BusType.uint16: .uint16(basic(&iterator, 0))
        case BusType.uint32: .uint32(basic(&iterator, 0))
        case BusType.uint64: .uint64(basic(&iterator, 0))
        case BusType.string: .string(text(&iterator))
        case BusType.path: .path(text(&iterator))
        case BusType.descriptor: descriptor(&iterator)
        case BusType.variant: variant(&iterator)
        default: .other
        }
    }

    /// - Parameter empty: gives the type, which must be that of the iterator's place.
    private static func basic<Number: BitwiseCopyable>(_ iterator: inout DBusMessageIter, _ empty: Number) -> Number {
        var number = empty
        dbus_message_iter_get_basic(&iterator, &number)
        return number
    }

    private static func text(_ iterator: inout DBusMessageIter) -> String {
        // It lies in the message: copied before that goes.
        let text: UnsafePointer<CChar>? = basic(&iterator, nil)
        return text.map { String(cString: $0) } ?? ""
    }

    private static func descriptor(_ iterator: inout DBusMessageIter) -> BusValue {
        // A duplicate that is ours, close-on-exec.
        let number = basic(&iterator, Int32(-1))
        return number >= 0 ? .descriptor(OwnedDescriptor(number)) : .other
    }

    /// libdbus bounds how deep they lie in each other.
    private static func variant(_ iterator: inout DBusMessageIter) -> BusValue {
        var inner = DBusMessageIter()
        dbus_message_iter_recurse(&iterator, &inner)
        return value(&inner)
    }
}

/// Type codes of the wire. (D-Bus Specification, "Type System")
private enum BusType {
    static let boolean = code("b")
    static let int32 = code("i")
    static let uint16 = code("q")
    static let uint32 = code("u")
    static let uint64 = code("t")
    static let string = code("s")
    static let path = code("o")
    static let descriptor = code("h")
    static let variant = code("v")
    static let array = code("a")

    private static func code(_ letter: Unicode.Scalar) -> Int32 { Int32(letter.value) }
}
