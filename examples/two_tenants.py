"""The same document in two tenants is two documents, and neither tenant can tell.

Make a deployment with ``nexus init demo``, then::

    python two_tenants.py demo/nexus.toml
"""

from __future__ import annotations

import sys

from nexus_core import Nexus, RequestContext, Source

TEXT = b"Scopes are kept apart: by name, by key, and by what the guard checks.\n"


def context(tenant: str) -> RequestContext:
    """Who acts, and in whose scope; a web application makes one from each verified token."""
    return RequestContext.build(
        tenant_id=tenant, env="dev", actor_id="two-tenants", actor_kind="agent", role="owner"
    )


def main(config: str) -> None:
    """Ingest one text into both tenants, then look for each one's as the other."""
    with Nexus.open(config) as nexus:
        assets: dict[str, str] = {}
        for tenant in ("acme", "globex"):
            with nexus.request(context(tenant), purpose="example") as n:
                source = Source(logical_key="note", content_type="text/plain", body=TEXT)
                (item,) = n.ingest(source, kind="data", space="examples").items
                assert item.asset is not None, item.message
                assets[tenant] = item.asset
        print("the same bytes, two ids:", assets["acme"] != assets["globex"])

        with nexus.request(context("globex"), purpose="example") as n:
            print("globex asks for acme's document:", n.assets.get(assets["acme"]))
            print("and for one that never was:     ", n.assets.get("ast_never-was"))
            found = {hit.pointer.asset for hit in n.retrieve("scopes").hits if hit.pointer}
            print("globex finds only its own:", found == {assets["globex"]})
            print("globex's own trail verifies:", n.audit.verify().ok)


if __name__ == "__main__":
    main(*sys.argv[1:])
