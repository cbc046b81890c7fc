"""The first twenty lines of an application: ingest a folder, then ask.

Make a deployment with ``nexus init demo``, then::

    python first_steps.py demo/nexus.toml PATH "your question"
"""

from __future__ import annotations

import sys

from nexus_core import Nexus, RequestContext


def main(config: str, path: str, question: str) -> None:
    """Everything an application does: open once, then a request with a context for each task."""
    context = RequestContext.build(
        tenant_id="acme", env="dev", actor_id="first-steps", actor_kind="agent", role="member"
    )
    with Nexus.open(config) as nexus, nexus.request(context, purpose="example") as n:
        report = n.ingest(path, kind="data", space="examples")
        print(f"{report.count('created')} new documents, {report.count('unchanged')} known")
        for hit in n.retrieve(question, k=3).hits:
            (atom,) = n.atoms.get(hit.id)
            if hit.pointer is not None and atom is not None:
                print(f"{hit.distance:.3f}  {hit.pointer.logical_key}: {n.atoms.text(atom)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
