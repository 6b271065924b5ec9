extension QMPEvent: Decodable {
    private enum Key: String, CodingKey {
        case event, data, timestamp
    }

    private enum DataKey: String, CodingKey {
        case guest, reason, status, pass, device, action, offset, name
        case noSpace = "nospace"
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let name = try container.decode(String.self, forKey: .event)
        timestamp = try container.decode(Timestamp.self, forKey: .timestamp)
        kind = Self.plainKinds[name] ?? (try? Self.kind(name, container)) ?? .unknown(name: name)
    }

    /// The events that are all said with their name.
    private static let plainKinds: [String: Kind] = [
        "STOP": .stop, "RESUME": .resume, "SUSPEND": .suspend, "WAKEUP": .wakeup, "POWERDOWN": .powerdown,
        "VNC_CONNECTED": .vncConnected, "VNC_INITIALIZED": .vncInitialized, "VNC_DISCONNECTED": .vncDisconnected,
    ]

    private static func kind(_ name: String, _ container: KeyedDecodingContainer<Key>) throws -> Kind {
        let data = try container.nestedContainer(keyedBy: DataKey.self, forKey: .data)
        func value<Value: Decodable>(_ key: DataKey) throws -> Value { try data.decode(Value.self, forKey: key) }
        switch name {
        case "SHUTDOWN": return .shutdown(guest: try value(.guest), reason: try value(.reason))
        case "RESET": return .reset(guest: try value(.guest), reason: try value(.reason))
        case "MIGRATION": return .migration(try value(.status))
        case "MIGRATION_PASS": return .migrationPass(try value(.pass))
        case "BLOCK_IO_ERROR":
            let noSpace = try data.decodeIfPresent(Bool.self, forKey: .noSpace) ?? false
            return .blockIOError(device: try value(.device), noSpace: noSpace, action: try value(.action))
        case "GUEST_PANICKED": return .guestPanicked(action: try value(.action))
        case "WATCHDOG": return .watchdog(action: try value(.action))
        case "RTC_CHANGE": return .rtcChange(offset: try value(.offset))
        case "NIC_RX_FILTER_CHANGED":
            return .nicRxFilterChanged(name: try data.decodeIfPresent(String.self, forKey: .name))
        default: return .unknown(name: name)
        }
    }
}
