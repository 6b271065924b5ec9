import VMSyncCore

/// Whose word a value is; a later one outweighs those before.
package enum PolicyOrigin: String, Hashable, Sendable, Codable, CaseIterable {
    case builtIn = "built in"
    /// Set for the VM, on all devices.
    case vm = "VM"
    /// Set for this device, for all VMs.
    case device
    case commandLine = "command line"
}

/// The settings that one layer names, as they were written.
package struct PolicyLayer: Hashable, Sendable, Codable {
    /// Settings of a layer, at most; and places. A stored layer that has more was not written by vmsync.
    package static let countMax = 256

    /// By `PolicyKey`. What a newer vmsync has written is kept, though not understood.
    package private(set) var values: [String: String]
    /// Restraints by place.
    package private(set) var places: [String: String]

    package init() {
        values = [:]
        places = [:]
    }

    package var isEmpty: Bool { values.isEmpty && places.isEmpty }

    /// - Parameter text: nil leaves the setting to the layers below.
    /// - Throws: `invalidInput` if it isn't a value of this setting.
    package mutating func set(_ key: PolicyKey, _ text: String?) throws(VMSyncError) {
        if let text {
            var trial = SyncPolicy()
            do { try trial.set(key, text) } catch {
                throw VMSyncError(.invalidInput, "\(key.rawValue): \(error.message)", hint: error.hint)
            }
        }
        values[key.rawValue] = text
    }

    /// - Parameter text: a restraint; nil leaves the place to the layers below.
    package mutating func set(place: String, _ text: String?) throws(VMSyncError) {
        if let text { _ = try Restraint(parsing: text) }
        guard places[place] != nil || places.count < Self.countMax else {
            throw VMSyncError(.invalidInput, "there are \(Self.countMax) places already")
        }
        places[place] = text
    }
}

/// The policy that holds, and where each value of it comes from.
package struct EffectivePolicy: Hashable, Sendable {
    package private(set) var policy = SyncPolicy()
    /// Of each setting that isn't built in.
    package private(set) var origins: [PolicyKey: PolicyOrigin] = [:]
    package private(set) var placeOrigins: [String: PolicyOrigin] = [:]
    /// Values that were passed over, in words.
    package private(set) var problems: [String] = []

    /// - Parameter layers: the lowest first.
    package init(_ layers: [(origin: PolicyOrigin, layer: PolicyLayer)]) {
        for (origin, layer) in layers { take(layer, origin) }
        if policy.switchWithin != nil, origins[.every] == nil { policy.every = SyncPolicy.everyWithPromise }
        problems.sort()
    }

    private mutating func take(_ layer: PolicyLayer, _ origin: PolicyOrigin) {
        for (name, text) in layer.values {
            do throws(VMSyncError) {
                guard let key = PolicyKey(rawValue: name) else {
                    throw VMSyncError(.invalidInput, "this vmsync knows no such setting")
                }
                try policy.set(key, text)
                origins[key] = origin
            } catch {
                problems.append("\(name) (\(origin.rawValue)): \(error.message)")
            }
        }
        for (place, text) in layer.places {
            do throws(VMSyncError) {
                policy.places[place] = try Restraint(parsing: text)
                placeOrigins[place] = origin
            } catch {
                problems.append("at \(place) (\(origin.rawValue)): \(error.message)")
            }
        }
    }

    package func origin(_ key: PolicyKey) -> PolicyOrigin { origins[key] ?? .builtIn }
}
