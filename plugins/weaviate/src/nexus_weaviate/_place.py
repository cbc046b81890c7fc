"""What must be on the server before the store can be used: looked at, and made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from nexus_core.spi import (
    ENVIRONMENTS,
    IntegrityError,
    PermissionDeniedError,
    Problem,
    StoreError,
    StoreTimeoutError,
    UnauthenticatedError,
    UnavailableError,
)
from nexus_weaviate._engine import Engine, translated
from nexus_weaviate._indexes import status
from nexus_weaviate._names import index_collection
from nexus_weaviate._schema import ensure_collection, index_schema, is_there, require_as_made

# The release that the store is tested with; filters and errors of older ones differ.
OLDEST: Final = (1, 38)


def provision(engine: Engine, prefix: str) -> Sequence[str]:
    """Make the collection of each environment that lists its scopes' indexes; idempotent."""
    made = []
    for env in ENVIRONMENTS:
        name = index_collection(prefix, env)
        if ensure_collection(engine, index_schema(name)):
            made.append(f"collection {name}")
    return made


def problems(engine: Engine, prefix: str) -> Sequence[Problem]:
    """What would stop the store from working; nothing is written."""
    engine.ensure_open()
    path = "url"
    try:
        client = engine.client
        with translated():
            version = str(client.get_meta().get("version", ""))
        if _number(version) < OLDEST:
            return [
                Problem(
                    path="url",
                    what=f"the server is Weaviate {version or 'of an unknown version'}",
                    fix=f"run {'.'.join(map(str, OLDEST))} or newer",
                    code="weaviate.version",
                )
            ]
        found = [*_of_the_server(engine), *_of_the_collections(engine, prefix)]
        if not any(problem.path == "prefix" for problem in found):
            path = "grpc"
            status(engine, index_collection(prefix, ENVIRONMENTS[0]), "t_probe_a")
    except StoreError as error:
        return [_problem(engine, path, error)]
    return found


def _of_the_server(engine: Engine) -> Iterator[Problem]:
    try:
        nodes = engine.get("/nodes").get("nodes") or []
    except PermissionDeniedError:
        return  # a role need not have the right to see the nodes
    # A node tells the length of its queue only where it indexes at once.
    if any((node.get("batchStats") or {}).get("queueLength") is None for node in nodes):
        yield Problem(
            path="url",
            what="the server indexes vectors some time after it has acknowledged them",
            fix="start it without ASYNC_INDEXING",
            code="weaviate.async_indexing",
        )


def _of_the_collections(engine: Engine, prefix: str) -> Iterator[Problem]:
    for env in ENVIRONMENTS:
        name = index_collection(prefix, env)
        if not is_there(engine, name):
            yield Problem(
                path="prefix",
                what=f"the server has no collection {name}",
                fix="run `nexus init`, or mend the prefix",
                code="weaviate.not_provisioned",
            )
            continue
        try:
            require_as_made(engine, index_schema(name))
        except IntegrityError:
            yield Problem(
                path="prefix",
                what=f"the collection {name} is not one that this store made",
                fix="take another prefix, or restore it from a backup",
                code="weaviate.foreign_collection",
            )


def _problem(engine: Engine, path: str, error: StoreError) -> Problem:
    config = engine.config
    if isinstance(error, UnauthenticatedError):
        path = "client_secret" if config.client_secret is not None else "api_key"
        return Problem(
            path=path,
            what="the server refuses the credentials",
            fix="give it ones that it knows",
            code="weaviate.unauthenticated",
        )
    if isinstance(error, PermissionDeniedError):
        return Problem(
            path="client_secret" if config.client_secret is not None else "api_key",
            what="the credentials may not read the store's collections",
            fix="give their role the rights that the README lists",
            code="weaviate.forbidden",
        )
    if isinstance(error, UnavailableError | StoreTimeoutError):
        return Problem(
            path=path,
            what=f"nobody answers at {config.url if path == 'url' else config.grpc}",
            fix="start the server, or mend the address",
            code="weaviate.unreachable",
        )
    return Problem(
        path=path,
        what=f"the server does not do what it is asked: {error.message}",
        fix="look at the server's log",
        code="weaviate.refused",
    )


def _number(version: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
