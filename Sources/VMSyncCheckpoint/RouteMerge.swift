import VMSyncCore

/// One pack of all packs of a route through a history, taken in one after the other, so that applying it is applying them.
///
/// What whole pages there are lie in a store; the rest is some hundred bytes for each unit that the packs name. Belongs to
/// one thread.
package final class RouteMerge {
    private let pages: (any PageStore)?
    private var content: PackContent?
    private var first: Manifest?
    /// Of the last pack.
    package private(set) var manifest: Manifest?
    /// After the last pack, where they are followed; nil if the VM is off then.
    package private(set) var deviceState: [UInt8]?

    /// - Parameter pages: where whole pages are kept; nil for in memory.
    package init(pages: (any PageStore)? = nil) { self.pages = pages }

    /// Takes in the next pack of the route.
    /// - Parameter followsState: whether the device state is to be made too; then the first pack must lead from the base, or
    ///   from a state that is off.
    /// - Throws: `corrupt`; `outOfOrder` if it doesn't follow the one before.
    package func append(_ pack: UnsafeRawBufferPointer, followsState: Bool) throws(VMSyncError) {
        let reader = try PackReader(pack)
        if let manifest { try Merge.checkFollows(manifest, reader.manifest) }
        if followsState { deviceState = try reader.validated(after: deviceState ?? []) }
        let next = try PackContent(reader, pages: pages)
        if content == nil { content = next } else { try content?.follow(next) }
        if first == nil || reader.manifest.isKeyframe { first = reader.manifest }
        manifest = reader.manifest
    }

    /// Writes the span from the first state of the route to the last.
    /// - Parameters:
    ///   - state: the device state of the last one; empty if it is off.
    ///   - parentState: that of the first one.
    /// - Throws: `invalidInput` if whoever applies it would have to save too many units.
    package func writeSpan(
        deviceState state: [UInt8], over parentState: [UInt8], _ workspace: PackWorkspace,
        into sink: @escaping PackWriter.Sink
    ) throws(VMSyncError) {
        guard let content, let first, var manifest else { throw VMSyncError(.bug, "a route without packs") }
        manifest.parent = first.parent
        manifest.parentDigest = first.parentDigest
        try write(content, manifest, state, over: manifest.isKeyframe ? [] : parentState, workspace, sink)
    }

    /// Writes the last state as checkpoint 1 of another VM.
    /// - Parameters:
    ///   - manifest: of the new one; digest, device state and kind are filled in.
    ///   - diskOnly: whether memory and device state are left out, as if the power had failed.
    /// - Returns: the manifest as it was written.
    package func writeKeyframe(
        as manifest: Manifest, diskOnly: Bool, _ workspace: PackWorkspace, into sink: @escaping PackWriter.Sink
    ) throws(VMSyncError) -> Manifest {
        guard var content, content.startsAtBase, let last = self.manifest else {
            throw VMSyncError(.bug, "a keyframe is made of a route from the base")
        }
        var manifest = manifest
        (manifest.kind, manifest.digest) = (last.kind, last.digest)
        (manifest.deviceStateBytes, manifest.qemu) = (last.deviceStateBytes, last.qemu)
        manifest.accelerator = last.accelerator
        if diskOnly, last.kind == .live {
            content.values = content.values.filter { $0.key.space != .memory }
            content.clearsMemory = true
            (manifest.kind, manifest.digest.memory, manifest.digest.deviceState) = (.off, .zero, .zero)
            manifest.deviceStateBytes = 0
        }
        let state = manifest.kind == .live ? deviceState ?? [] : []
        try write(content, manifest, state, over: [], workspace, sink)
        return manifest
    }

    private func write(
        _ content: PackContent, _ manifest: Manifest, _ state: [UInt8], over parentState: [UInt8],
        _ workspace: PackWorkspace, _ sink: @escaping PackWriter.Sink
    ) throws(VMSyncError) {
        try content.checkLimits()
        let writer = try PackWriter(
            workspace, clearsMemory: content.clearsMemory && manifest.kind == .live, sink: sink)
        if manifest.kind == .live {
            try parentState.withRawBytes { parent throws(VMSyncError) in
                try writer.addDeviceState(state, parent: parent)
            }
        }
        try content.write(to: writer)
        _ = try writer.finish(manifest)
    }
}
