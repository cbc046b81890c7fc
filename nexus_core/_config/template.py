"""The text of a fresh configuration: embedded stores, durable, no server, nothing to edit first."""

from __future__ import annotations

import secrets
from typing import Final

_TEXT: Final = """\
# The configuration of a Nexus deployment. `nexus config check` reads it and says all that is wrong;
# `nexus config schema` describes every key. Relative paths are relative to this file's folder.
version = 1

# "production" refuses stores that forget everything when the process ends.
profile = "development"

# Environments that are served; dev, staging and prod if left out.
# environments = ["dev"]

# Kinds that data may be of; these if left out.
# kinds = ["data", "research", "style", "content", "chat", "plan"]

# Every key is derived from this secret: 64 hexadecimal digits. Keep it, and keep a copy elsewhere:
# without it no audit trail verifies and no record passes the guard.
# Secrets are given by reference: { file = "PATH" } or { env = "VARIABLE" }.
[keys]
root = { file = "secrets/root.key" }

# Stores, by names of your own. `nexus plugins list` shows the backends that are installed.
[stores.files]
backend = "filesystem"
root = "data/raw"

[stores.records]
backend = "sql"
url = "sqlite:///data/records.db"

[stores.vectors]
backend = "embedded"
root = "data/vectors"

# Which stores serve which scopes. This route is the default; one with `tenant`, `env` or both is
# more specific, and wins for the roles that it names.
[[routes]]
raw = "files"
atoms = "records"
vectors = "vectors"
audit = "records"

# What cuts files into atoms, by media type.
[atomizers.documents]
plugin = "atomizers"
use = ["text@1", "markdown@1", "html@1", "pdf@1", "csv@1", "json@1", "jsonl@1"]

# What turns text into vectors.
[embedders.lexical]
plugin = "embedders"
use = "lexical@1"

# Indexes that every scope has. A definition is locked once it is made: a change is a new version.
[[indexes]]
name = "main"
version = 1
dimension = 384
metric = "cosine"
embedder = "lexical@1"

[ingest]
index = "main@1"
"""


def fresh_config() -> str:
    """The text of a new ``nexus.toml`` for embedded use, with comments."""
    return _TEXT


def fresh_root_key() -> str:
    """A new root key as the file that holds it has it: 64 hexadecimal digits from the system."""
    return secrets.token_hex(32)
