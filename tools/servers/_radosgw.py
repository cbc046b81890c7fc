"""Ceph's S3 gateway from Debian: one monitor, one store of objects, one gateway.

The store of objects keeps its bytes in a sparse file below the server's directory, so that an
object larger than the machine's memory can be tried.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.servers import _kit

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")
ADVICE = "install it with `python -m tools.servers install radosgw`, which uses apt-get"
REGION = "default"
STORE_BYTES = 12 << 30
# A single replica on a single store; the two paxos times make a start take seconds, not minutes.
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:{host}:{mon2},v1:{host}:{mon1}]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
run dir = {home}
admin socket = {home}/$name.asok
log file = {home}/$name.log
log to stderr = false
err to stderr = false
keyring = {home}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
auth allow insecure global id reclaim = false
ms bind ipv4 = true
[mon]
mon data = {home}/mon
mon initial members = a
mon data avail crit = 1
mon data avail warn = 2
mon osd min up ratio = 0
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = {home}/osd
osd objectstore = bluestore
bluestore block size = {bytes}
bluestore block db size = 0
bluestore fsck on mount = false
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint={host}:{port} tcp_nodelay=1
rgw data = {home}/rgw
rgw crypt require ssl = false
rgw thread pool size = 32
rgw enable apis = s3, sts, iam, admin
rgw enable usage log = false
rgw s3 auth use sts = true
rgw sts key = {sts}
rgw num control oids = 1
rgw lc debug interval = -1
"""

NEEDS: Mapping[str, type] = {
    "host": str,
    "port": int,
    "region": str,
    "access_key": str,
    "secret_key": str,
    "role_arn": str,
}
OWN: Mapping[str, type] = {}


def install() -> None:
    """Get the Debian packages."""
    with contextlib.suppress(_kit.ServerError):
        for program in ("ceph-mon", "ceph-osd", "radosgw", "ceph"):
            _kit.find(program, ADVICE)
        return
    _kit.apt(*PACKAGES)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[dict[str, Any]]:
    """A fresh cluster; ``access_key`` and ``secret_key`` are those of its only user.

    That user may assume the role ``role_arn``, which may do all that he may.
    """
    programs = {name: _kit.find(name, ADVICE) for name in ("ceph-mon", "ceph-osd", "radosgw")}
    tools = {
        name: _kit.find(name, ADVICE)
        for name in ("ceph", "ceph-authtool", "monmaptool", "radosgw-admin")
    }
    port, mon1, mon2 = (_kit.free_port() for _ in range(3))
    fsid = str(uuid.uuid4())
    for name in ("mon", "osd", "rgw"):
        (directory / name).mkdir()
    configuration = directory / "ceph.conf"
    configuration.write_text(
        CONFIGURATION.format(
            fsid=fsid,
            host=_kit.HOST,
            mon1=mon1,
            mon2=mon2,
            port=port,
            home=directory,
            bytes=STORE_BYTES,
            sts=secrets.token_hex(8),
        )
    )
    keys = directory / "keyring"
    authority = (tools["ceph-authtool"], keys, "--gen-key", "-n")
    _kit.run(
        [*authority[:2], "--create-keyring", *authority[2:], "mon.", "--cap", "mon", "allow *"]
    )
    caps = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
    for user in ("client.admin", "client.rgw", "osd.0"):
        _kit.run([*authority, user, *caps])
    address = f"[v2:{_kit.HOST}:{mon2},v1:{_kit.HOST}:{mon1}]"
    monmap = directory / "monmap"
    _kit.run([tools["monmaptool"], "--create", "--addv", "a", address, "--fsid", fsid, monmap])
    log = directory / "log"
    mon = (programs["ceph-mon"], "-c", configuration, "-i", "a")
    osd = (programs["ceph-osd"], "-c", configuration, "-i", "0")
    gateway = (programs["radosgw"], "-c", configuration, "-n", "client.rgw", "-f")
    admin = (tools["radosgw-admin"], "-c", configuration)
    _kit.run([*mon, "--mkfs", "--monmap", monmap, "--keyring", keys])
    # In this order, so that they stop the other way round: the gateway hangs without the rest.
    with contextlib.ExitStack() as stack:
        stack.enter_context(_kit.process([*mon, "-f"], log))
        store = str(uuid.uuid4())
        cluster = (tools["ceph"], "-c", configuration, "--connect-timeout", "30")
        _kit.run([*cluster, "osd", "new", store, "0"])
        _kit.run([*osd, "--mkfs", "--osd-uuid", store])
        stack.enter_context(_kit.process([*osd, "-f"], log))
        child = stack.enter_context(_kit.process(gateway, log))
        _kit.wait_until(lambda: _kit.connects(port), child, log)
        yield {"host": _kit.HOST, "port": port, "region": REGION, **_user(admin)}


def _user(admin: tuple[Any, ...]) -> dict[str, str]:
    """A user, and a role that the user may assume and that may do everything with S3."""
    made = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_hex(20)}
    _kit.run(
        [
            *(*admin, "user", "create", "--uid=nexus", "--display-name=nexus"),
            *(f"--access-key={made['access_key']}", f"--secret-key={made['secret_key']}"),
        ]
    )
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/nexus"]},
                "Action": ["sts:AssumeRole"],
            }
        ],
    }
    allowed = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}],
    }
    _kit.run(
        [
            *(*admin, "role", "create", "--role-name=nexus-scopes"),
            f"--assume-role-policy-doc={json.dumps(trust)}",
        ]
    )
    _kit.run(
        [
            *(*admin, "role-policy", "put", "--role-name=nexus-scopes", "--policy-name=all"),
            f"--policy-doc={json.dumps(allowed)}",
        ]
    )
    return {**made, "role_arn": "arn:aws:iam:::role/nexus-scopes"}
