"""The laws of an audit sink: one trail for each tenant, whole, and of that tenant alone."""

from __future__ import annotations

from nexus_core._audit import ErasedRecord
from nexus_core._doctor.laws import Laws, Twin, Twins, needed, never


def try_audit(twins: Twins, laws: Laws) -> None:
    """Look at the trails that the probe itself has left behind."""
    a, b = twins.a, twins.b
    with laws.law("each tenant's trail verifies by itself, also against its own checkpoint"):
        for twin in (a, b):
            report = twin.n.audit.verify(trusted_checkpoint=twin.n.audit.checkpoint())
            needed(report.ok and report.size, f"a trail does not verify: {_first(report.findings)}")
            needed(report.rollback == "checked", "a trail is not what its checkpoint says")
    if laws.broken:
        return
    with laws.law("one tenant's acts leave no mark in the other's trail"):
        # Asked past the handle, whose own access records would move the trail.
        before = b.gate.runtime.log.checkpoint()
        a.n.audit.tail(1)
        a.n.audit.verify()
        never(b.gate.runtime.log.checkpoint() != before, "one tenant's act moved the other's trail")
        for twin, other in ((a, b), (b, a)):
            traces = _traces(twin)
            never(
                other.gate.context.trace_id in traces,
                "a trail has a record of the other tenant's request",
            )
            needed(twin.gate.context.trace_id in traces, "a trail has no record of its own request")
    with laws.law("a trail is not taken for another tenant's"):
        never(a.n.audit.verifier_key == b.n.audit.verifier_key, "two tenants share one key")
        report = b.n.audit.verify(trusted_checkpoint=a.n.audit.checkpoint())
        never(report.ok, "the other tenant's checkpoint is accepted")


def _traces(twin: Twin) -> set[str]:
    traces: set[str] = set()
    position: int | None = 0
    while position is not None:
        page = twin.n.audit.read(position, limit=500)
        traces |= {record.trace_id for record in page.items if not isinstance(record, ErasedRecord)}
        position = page.following
    return traces


def _first(findings: tuple[object, ...]) -> str:
    return str(findings[0]) if findings else "it is empty"
