"""``python -m nexus_core`` is ``nexus``."""

from __future__ import annotations

from nexus_core._cli.main import run

if __name__ == "__main__":
    run()
