/// What zstd and the reader know of every manifest beforehand (docs/format/checkpoint.md, "Manifest"): an idle desktop's
/// whole checkpoint is a few kilobytes, and the names of the fields would be a tenth of it. Part of the format: never
/// changed without a new version of it.
enum ManifestDictionary {
    static let bytes = Array(
        #"""
        {"created":1700000000.0,"definition":{"architecture":"aarch64","boot":{"commandLine":"console=ttyAMA0 root=/dev/vda","hasInitrd":true},"cores":1,"cpuModel":"cortex-a72","disks":[{"size":1073741824}],"generationID":"00000000-0000-4000-8000-000000000000","macAddress":"52:54:00:00:00:00","machineType":"virt-7.2","memory":268435456},"architecture":"x86_64","boot":{"commandLine":"console=ttyS0 console=tty0 quiet loglevel=3 panic=-1 mitigations=off","hasInitrd":true},"cores":2,"cpuModel":"Nehalem","disks":[{"size":4294967296},{"size":8589934592}],"machineType":"pc-q35-7.2","memory":1073741824,"sound":"hda"},"device":"0","device_state_bytes":0,"digest":{"deviceState":"00000000000000000000000000000000","disks":["00000000000000000000000000000000"],"memory":"00000000000000000000000000000000"},"epoch":1,"kind":"off","kind":"live","parent":0,"parent_digest":"00000000000000000000000000000000","qemu":"7.2.0","sequence":1,"vm":"0"}
        """#.utf8)
}
