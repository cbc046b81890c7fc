"""What takes a server from elsewhere, or more room and time than the plain run has."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nexus_gcs
import pytest
from nexus_gcs import GcsConfig

import nexus_core
from nexus_core.spi import Runtime

WORKER = Path(__file__).with_name("gcs_large_worker.py")
GIB = 1 << 30


@pytest.mark.servers
def test_gcs_objects_are_larger_than_memory(lab: Any) -> None:
    """A process that may have half a GiB in all puts and gets an object of two, byte for byte."""
    paths = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_gcs)]
    arguments = [json.dumps(paths), lab.settings().model_dump_json(), str(lab.base)]
    done = subprocess.run(
        [sys.executable, str(WORKER), *arguments, str(2 * GIB), str(GIB // 2)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [2 * GIB, True, 2 * GIB, True]
    assert lab.wire.names(lab.bucket) == ["v1/prod/acme/large"]


@pytest.mark.servers
def test_gcs_a_server_that_ignores_conditions_is_refused(
    server: Callable[[str], Mapping[str, Any]], tmp_path: Path
) -> None:
    """An emulator that overwrites where it must not proves no condition, and is told so by name."""
    info = server("gcslax")
    settings = {
        "endpoint": info["endpoint"],
        "project": info["project"],
        "bucket": f"lax-{time.time_ns():x}",
        "location": "EU",
        "identity": "anonymous",
        "accept_recoverable": True,
    }
    spec = nexus_gcs.nexus_raw_store()
    config = GcsConfig.model_validate(settings)
    runtime = Runtime(store="files", base=tmp_path, now=lambda: time.time_ns() // 1000)
    assert spec.prove is not None
    assert spec.provision is not None
    spec.provision(config, runtime)
    found: Mapping[str, Any] = spec.prove(config, runtime)
    refused = {"conditional_create", "conditional_replace", "conditional_delete", "presign_put"}
    assert {name for name in refused if found[name] is not False} == set()
