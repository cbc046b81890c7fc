"""Put and get an object that is larger than this process may ever be: run by a test."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path


def main() -> None:
    """Say in JSON what was stored and read; the arguments are paths, settings, folder, sizes."""
    paths, settings, folder, size, limit = sys.argv[1:]
    sys.path[:0] = json.loads(paths)
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))

    import nexus_gcs

    from nexus_core.spi import Body, ObjectAttributes, RawBackend, Runtime, Scope

    config = nexus_gcs.GcsConfig.model_validate_json(settings)
    runtime = Runtime(store="raw", base=Path(folder), now=lambda: 0)
    store = nexus_gcs.nexus_raw_store().factory(config, runtime)
    assert isinstance(store, RawBackend)
    scope = Scope("acme", "prod")
    wanted = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for number in range(int(size) >> 20):
            chunk = hashlib.sha256(b"%d" % number).digest() * (1 << 15)
            wanted.update(chunk)
            yield chunk

    attributes = ObjectAttributes(content_type="text/plain", metadata={}, system={})
    info = store.put(scope, "large", Body(chunks()), attributes, if_absent=True)
    read = hashlib.sha256()
    length = 0
    with store.open(scope, "large") as stream:
        for chunk in stream.chunks:
            read.update(chunk)
            length += len(chunk)
    said = (info.size, info.sha256 == wanted.hexdigest())
    sys.stdout.write(json.dumps([*said, length, read.hexdigest() == wanted.hexdigest()]))


if __name__ == "__main__":
    main()
