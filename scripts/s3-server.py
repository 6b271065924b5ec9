#!/usr/bin/env python3
"""Runs a real S3 server for tests: OpenStack Swift with its S3 API, in one process, on loopback.

    s3-server.py FOLDER

FOLDER takes the objects and all else that it writes; it must lie on a file system with extended attributes. The server
prints its address on one line once it answers, and ends when it is killed. Access key test:tester, secret key testing;
there is a bucket, vmsync-test.
"""

import hashlib
import hmac
import logging
import os
import pathlib
import sys
import time

import eventlet

eventlet.monkey_patch()

import urllib.request  # noqa: E402 - all imports but eventlet's come after the patch

import eventlet.wsgi  # noqa: E402
from swift.common import constraints, storage_policy, utils  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

STORES = ["account", "container", "object"]
PIPELINE = ["catch_errors", "gatekeeper", "healthcheck", "listing_formats", "s3api", "tempauth", "copy", "slo"]

CLUSTER = """\
[swift-hash]
swift_hash_path_suffix = vmsync
[storage-policy:0]
name = only
default = yes
"""

# `reclaim` and the like run in daemons that aren't started here: what is deleted stays as a tombstone.
STORE = """\
[DEFAULT]
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {etc}
log_level = ERROR
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {etc}
log_level = ERROR
[pipeline:main]
pipeline = {pipeline} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""


def configure(folder, etc, ports):
    """Writes the configuration of a cluster of one device."""
    (folder / "devices" / "only").mkdir(parents=True)
    etc.mkdir()
    (etc / "swift.conf").write_text(CLUSTER)
    proxy = PROXY.format(port=ports["proxy"], etc=etc, pipeline=" ".join(PIPELINE))
    for name in PIPELINE:
        if name != "tempauth":
            proxy += f"[filter:{name}]\nuse = egg:swift#{name}\n"
    (etc / "proxy-server.conf").write_text(proxy)
    for name in STORES:
        (etc / f"{name}-server.conf").write_text(STORE.format(folder=folder, etc=etc, name=name, port=ports[name]))
        ring = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": ports[name], "device": "only",
                      "weight": 1, "replication_ip": "127.0.0.1", "replication_port": ports[name], "meta": ""})
        ring.rebalance()
        ring.get_ring().save(str(etc / f"{name}.ring.gz"))


def make_bucket(port):
    """As any client would: a PUT of the bucket's name, signed as AWS Signature Version 4 has it."""
    def code(key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    host, empty = f"127.0.0.1:{port}", hashlib.sha256(b"").hexdigest()
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{moment[:8]}/us-east-1/s3/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date"
    request = f"PUT\n/vmsync-test\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{moment}\n\n{names}\n{empty}"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4testing"
    for part in scope.split("/"):
        key = code(key, part)
    signature = code(key, text).hex()
    credential = f"AWS4-HMAC-SHA256 Credential=test:tester/{scope},SignedHeaders={names},Signature={signature}"
    headers = {"Authorization": credential, "x-amz-date": moment, "x-amz-content-sha256": empty}
    urllib.request.urlopen(
        urllib.request.Request(f"http://{host}/vmsync-test", method="PUT", headers=headers)).close()


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    etc = folder / "etc"
    sockets = {name: eventlet.listen(("127.0.0.1", 0), backlog=512) for name in STORES + ["proxy"]}
    ports = {name: socket.getsockname()[1] for name, socket in sockets.items()}
    configure(folder, etc, ports)
    # Swift looks for this file in /etc only.
    utils.SWIFT_CONF_FILE = str(etc / "swift.conf")
    utils.validate_hash_conf()
    constraints.reload_constraints()
    storage_policy.reload_storage_policies()
    servers = [
        eventlet.spawn(
            eventlet.wsgi.server, socket, loadapp(str(etc / f"{name}-server.conf"), global_conf={"log_name": name}),
            logging.getLogger(name), protocol=SwiftHttpProtocol, log_output=False,
            custom_pool=eventlet.GreenPool(256))
        for name, socket in sockets.items()
    ]
    make_bucket(ports["proxy"])
    print(f"http://127.0.0.1:{ports['proxy']}", flush=True)
    for server in servers:
        server.wait()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: s3-server.py FOLDER")
    os.umask(0o077)
    main()
