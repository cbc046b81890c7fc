#!/usr/bin/env python3
"""Verify an audit proof with nothing but Python and ``verify_audit.py`` beside it.

    verify_proof.py PROOF --key VERIFIER_KEY [--trusted CHECKPOINT_FILE]

PROOF is what `nexus audit prove` wrote; VERIFIER_KEY the log's public key (or a file with it), got
from elsewhere. A proof of growth needs the checkpoint of the older size, kept elsewhere. Shares no
code with the framework. Exit status: 0 proved, 1 not proved, 2 the arguments are unusable.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from verify_audit import Key, canonical, open_checkpoint, require, unbase64


def climb(path: list[bytes], leaf: bytes, index: int, size: int) -> bytes:
    """The root that an inclusion path leads to (RFC 6962, section 2.1.1), from the leaf up."""
    if size == 1:
        require(not path, "the path is too long")
        return leaf
    require(path, "the path is too short")
    middle = 1 << (size - 1).bit_length() - 1
    if index < middle:
        left, right = climb(path[:-1], leaf, index, middle), path[-1]
    else:
        left, right = path[-1], climb(path[:-1], leaf, index - middle, size - middle)
    return hashlib.sha256(b"\x01" + left + right).digest()


def grown(
    path: list[bytes], old: int, size: int, root: bytes, *, whole: bool
) -> tuple[bytes, bytes]:
    """The old and the new root that a consistency path leads to (RFC 6962, section 2.1.2)."""
    if old == size:
        require(len(path) == (0 if whole else 1), "the path has another length")
        return (root, root) if whole else (path[0], path[0])
    require(path, "the path is too short")
    middle = 1 << (size - 1).bit_length() - 1
    if old <= middle:
        before, after = grown(path[:-1], old, middle, root, whole=whole)
        return before, hashlib.sha256(b"\x01" + after + path[-1]).digest()
    before, after = grown(path[:-1], old - middle, size - middle, root, whole=False)
    first, second = (hashlib.sha256(b"\x01" + path[-1] + each) for each in (before, after))
    return first.digest(), second.digest()


def check_proof(file: Path, key: Key, trusted: bytes | None) -> str:
    """What a proof proves; raises where it proves nothing."""
    data = canonical(file.read_bytes().removesuffix(b"\n"))
    require(data["format"] == "nexus.audit.proof/v1", "it is no proof")
    require(data["origin"] == key.name, "it is of another log")
    size, root = open_checkpoint(unbase64(data["checkpoint"]), key, bare=False)
    require(data["size"] == size, "its size is not that of its checkpoint")
    path = [unbase64(each) for each in data["path"]]
    require(all(len(each) == 32 for each in path), "a hash is not 32 bytes")
    if data["type"] == "inclusion":
        leaf, index = unbase64(data["leaf"]), data["index"]
        require(type(index) is int and 0 <= index < size, "its index is outside the log")
        found = climb(path, hashlib.sha256(b"\x00" + leaf).digest(), index, size)
        require(found == root, "the path does not lead to the checkpoint")
        return f"record {index} is one of the {size} records"
    require(data["type"] == "consistency", "it is no proof that is known")
    require(trusted is not None, "a proof of growth needs --trusted")
    old, old_root = open_checkpoint(trusted or b"", key, bare=False)
    require(data["old_size"] == old <= size, "the trusted checkpoint has another size")
    require(grown(path, old, size, old_root, whole=True) == (old_root, root), "it is another log")
    return f"the log has only grown, from {old} to {size} records"


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an audit proof.")
    parser.add_argument("proof", type=Path, help="what `nexus audit prove` wrote")
    parser.add_argument("--key", required=True, help="the log's verifier key, or a file with it")
    parser.add_argument("--trusted", type=Path, help="a checkpoint that was kept elsewhere")
    options = parser.parse_args()
    try:
        key = Key(options.key if "+" in options.key else Path(options.key).read_text().strip())
        trusted = options.trusted.read_bytes() if options.trusted else None
        options.proof.stat()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        print(f"proved: {check_proof(options.proof, key, trusted)}")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        print(f"finding: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
