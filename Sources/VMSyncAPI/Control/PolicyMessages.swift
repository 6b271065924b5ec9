import VMSyncCore
import VMSyncPolicy

/// `GET /policy`, `GET /vms/NAME/policy`: the settings that hold, and where each comes from.
package struct PolicyReport: Sendable, Codable {
    package struct Setting: Sendable, Codable {
        package var name: String
        package var value: String
        package var source: PolicyOrigin
    }

    /// What is set for this device or for the VM, by name.
    package var here: [String: String]
    package var effective: [Setting]
    /// Restraints by place.
    package var places: [Setting]
    /// By which the place where the device is may be called; empty if it isn't known.
    package var presentPlace: [String]
    /// Values that were passed over.
    package var problems: [String]

    package init(_ layer: PolicyLayer, _ effective: EffectivePolicy, presentPlace: [String]) {
        here = layer.values.merging(
            Dictionary(uniqueKeysWithValues: layer.places.map { ("at \($0.key)", $0.value) })
        ) { $1 }
        self.effective = PolicyKey.allCases.map {
            Setting(name: $0.rawValue, value: effective.policy.text($0), source: effective.origin($0))
        }
        places = effective.policy.places.sorted { $0.key < $1.key }.map {
            Setting(name: $0.key, value: $0.value.text, source: effective.placeOrigins[$0.key] ?? .builtIn)
        }
        self.presentPlace = presentPlace
        problems = effective.problems
    }

    enum CodingKeys: String, CodingKey {
        case here, effective, places, problems
        case presentPlace = "present_place"
    }
}

/// `POST /policy`, `POST /vms/NAME/policy`
package struct PolicyOrder: Sendable, Codable {
    /// Leaves a setting to the layers below.
    package static let standard = "default"

    /// By name; `standard` takes the setting back.
    package var values: [String: String]
    /// The same by place.
    package var places: [String: String]

    package init(values: [String: String], places: [String: String]) {
        self.values = values
        self.places = places
    }

    /// - Throws: `invalidInput`; then nothing has changed.
    package func apply(to layer: inout PolicyLayer) throws(VMSyncError) {
        var changed = layer
        for (name, text) in values {
            guard let key = PolicyKey(rawValue: name) else {
                throw VMSyncError(.invalidInput, "there is no setting \"\(name)\"", hint: "vmsync policy set --help")
            }
            try changed.set(key, text == Self.standard ? nil : text)
        }
        for (place, text) in places { try changed.set(place: place, text == Self.standard ? nil : text) }
        layer = changed
    }
}
