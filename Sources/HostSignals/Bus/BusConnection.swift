import CDBus

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// One connection through libdbus. It belongs to one thread.
final class BusConnection {
    private let handle: OpaquePointer

    /// Connects; who we are is said later, with the first message.
    /// - Throws: `notConnected` with libdbus's words.
    init(address: String) throws(BusError) {
        var error = DBusError()
        dbus_error_init(&error)
        defer { dbus_error_free(&error) }
        guard let handle = dbus_connection_open_private(address, &error) else {
            let words = error.message.map { String(cString: $0) } ?? "no memory for a connection"
            throw BusError(.notConnected, "no bus at \(address): \(words)")
        }
        self.handle = handle
        dbus_connection_set_max_message_size(handle, BusLimits.message)
        dbus_connection_set_max_message_unix_fds(handle, BusLimits.descriptors)
    }

    deinit {
        dbus_connection_close(handle)
        dbus_connection_unref(handle)
    }

    /// Puts a message into the queue of what is written.
    /// - Returns: what its answer names.
    func send(_ message: borrowing BusMessage) throws(BusError) -> UInt32 {
        var serial: dbus_uint32_t = 0
        guard dbus_connection_send(handle, message.handle, &serial) != 0 else {
            throw BusError(.notConnected, "no memory for a message")
        }
        return serial
    }

    /// Reads and writes what can be without waiting, or once waits for `milliseconds`.
    /// - Throws: `notConnected` if the connection has ended.
    func exchange(waiting milliseconds: Int32 = 0) throws(BusError) {
        guard dbus_connection_read_write(handle, milliseconds) != 0 else {
            throw BusError(.notConnected, "the bus has ended the connection")
        }
    }

    /// Takes a message out of what was read.
    func next() -> BusMessage? { dbus_connection_pop_message(handle).map { BusMessage($0) } }

    /// To wait for input, and for room if something is to be written. Only when the bus knows us; before, libdbus must
    /// wait by itself.
    /// - Throws: `notConnected`.
    func pollable() throws(BusError) -> (descriptor: Int32, events: Int32) {
        var descriptor: Int32 = -1
        guard dbus_connection_get_unix_fd(handle, &descriptor) != 0 else {
            throw BusError(.notConnected, "the connection to the bus has no socket")
        }
        let events = dbus_connection_has_messages_to_send(handle) != 0 ? POLLIN | POLLOUT : POLLIN
        return (descriptor, Int32(events))
    }

    /// Asks, and waits for the answer; what else comes meanwhile is dropped. For the beginning, when nothing else does.
    /// - Parameter isStopped: whether to give up.
    func ask(
        _ method: String, of target: BusTarget, _ arguments: [String], unless isStopped: () -> Bool
    ) throws(BusError) {
        let serial = try send(BusMessage.call(method, of: target, arguments.map(BusArgument.text)))
        let deadline = ContinuousClock.now + BusLimits.answer
        while ContinuousClock.now < deadline && !isStopped() {
            try exchange(waiting: BusLimits.handshakeStep)
            while let message = next() {
                guard message.answeredSerial == serial else { continue }
                if message.type == DBUS_MESSAGE_TYPE_ERROR { throw message.failure }
                return
            }
        }
        throw BusError(.timedOut, "the bus didn't answer \(method)")
    }
}
