"""A process that is killed leaves no object, no named file, and only uploads that are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nexus_s3

import nexus_core

WORKER = Path(__file__).with_name("s3_worker.py")


def worker(lab: Any, size: int | None) -> subprocess.Popen[str]:
    """Start a writer in another process."""
    sources = [str(Path(str(m.__file__)).parents[1]) for m in (nexus_core, nexus_s3)]
    child = subprocess.Popen(
        [sys.executable, str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sources)},
    )
    told = {
        "config": lab.config.model_dump(mode="json"),
        "base": str(lab.base),
        "proofs": dict(lab.proofs),
        "size": size,
    }
    assert child.stdin is not None
    child.stdin.write(json.dumps(told) + "\n")
    child.stdin.flush()
    return child


def test_killed_while_it_spools(proved: Any) -> None:
    """A writer that is killed while it reads its body leaves no file and caused no request."""
    with worker(proved, None) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "under way\n"
        child.kill()
    assert list((proved.base / "spool").iterdir()) == []
    assert proved.objects() == {}
    assert proved.verbs() == []


def test_killed_while_it_sends_parts(proved: Any) -> None:
    """A writer killed between its parts leaves an upload, which is invisible, found and aborted."""
    proved.reopen(multipart_from=5 << 20, part_bytes=5 << 20, part_workers=1)
    second = threading.Event()

    def hold(asked: Any) -> None:
        if asked.verb == "PUT part" and asked.query["partNumber"] == "2":
            second.set()
            time.sleep(0.3)

    proved.engine.before = hold
    with worker(proved, 20 << 20) as child:
        assert second.wait(30)
        child.kill()
    proved.engine.before = None
    assert list((proved.base / "spool").iterdir()) == []
    assert proved.keys() == []
    assert len(proved.engine.uploads) == 1
    proved.clock.time = time.time_ns() // 1000 + 25 * 3600 * 1_000_000
    proved.put("other", b"x" * (5 << 20))
    assert proved.engine.uploads == {}
    assert proved.keys() == ["other"]
