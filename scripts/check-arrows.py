#!/usr/bin/env python3
"""Fails when a target imports what it does not list, or what does not stand in a lower row.

The compiler accepts an import of any module that happens to be built already; this does not.
It reads `swift package describe` and the import lines of the sources.
"""

import json
import pathlib
import re
import subprocess
import sys

# The rows of Package.swift and ARCHITECTURE.md. An arrow may only point to a row with a lower number.
ROWS = [
    {"CVMSyncLinux", "CZstd", "CXXHash", "CPostgreSQL", "CDBus"},
    {"VMSyncCore", "QMP", "NBD", "RFB", "PostgreSQL", "HostSignals"},
    {"VMSyncCheckpoint", "VMSyncPolicy", "VMSyncSecrets"},
    {"VMSyncMachine", "VMSyncAPI", "VMSyncStore"},
    {"VMSyncHTTP", "VMSyncReplica"},
    {"VMSyncServer", "VMSyncDevice", "VMSyncSimulation"},
    {"VMSyncStudy"},
    {"vmsync", "vmsync-sim"},
    {"VMSyncTestSupport", "NBDTestSupport", "HostSignalsTestSupport", "VMSyncPackFuzzing"},
]
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}
TESTS_ROW = len(ROWS)

IMPORT = re.compile(
    r"^\s*(?P<attributes>(?:@\w+(?:\([^)]*\))?\s+)*)"
    r"(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
    r"(?:(?:struct|class|enum|protocol|func|var|let|typealias|actor)\s+)?(?P<module>\w+)"
)


def describe():
    """The package as SwiftPM sees it."""
    command = ["swift", "package", "describe", "--type", "json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def imports(target):
    """Yields (place, module, attributes) for every import line of the target's Swift sources."""
    for source in target["sources"]:
        path = pathlib.Path(target["path"]) / source
        if path.suffix != ".swift":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if match := IMPORT.match(line):
                yield f"{path}:{number}", match["module"], match["attributes"]


def row_of(target):
    """The target's row, or None when the table does not know it."""
    return TESTS_ROW if target["type"] == "test" else ROW_OF.get(target["name"])


def complaints(targets):
    """Yields one line for every broken rule."""
    own = {target["name"] for target in targets}
    for target in targets:
        name, row = target["name"], row_of(target)
        listed = set(target.get("target_dependencies", []))
        if row is None:
            yield f"Package.swift: {name} has no row; give it one in scripts/check-arrows.py"
            continue
        for other in sorted(listed):
            if ROW_OF.get(other, TESTS_ROW) >= row:
                yield f"Package.swift: {name} (row {row}) lists {other}, which is not in a lower row"
        for place, module, attributes in imports(target):
            if "@testable" in attributes:
                yield f"{place}: @testable import; tests see what a user of the module sees"
            if module in own and module not in listed:
                yield f"{place}: {name} imports {module} without listing it in Package.swift"


def main():
    targets = describe()["targets"]
    broken = list(complaints(targets))
    print("\n".join(broken) or f"check-arrows: {len(targets)} targets, every arrow points down")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
