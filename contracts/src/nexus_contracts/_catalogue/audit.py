"""What an audit sink promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_core.spi import StoreRole


def _aud(
    number: str,
    sentence: str,
    rationale: str,
    *,
    level: Level = Level.MUST,
    profile: Profile = Profile.CORE,
    capability: str | None = None,
    reason: str | None = None,
) -> Requirement:
    return Requirement(
        id=number,
        role=StoreRole.AUDIT,
        level=level,
        profile=profile,
        capability=capability,
        sentence=sentence,
        rationale=rationale,
        reason=reason,
    )


AUDIT: Final[tuple[Requirement, ...]] = (
    _aud(
        "AUD-001",
        "Entries come back in order and bit for bit, from any index and in pages of any size.",
        "A leaf that is trimmed or re-encoded no longer hashes to the tree.",
    ),
    _aud(
        "AUD-002",
        "The head is the last one appended, and None before the first entry.",
        "A stale head forks the log at the next append.",
    ),
    _aud(
        "AUD-003",
        "An append to a log of another size raises PreconditionFailedError and writes nothing.",
        "Two writers that both append to one size leave two histories.",
    ),
    _aud(
        "AUD-004",
        "Of several racing appends to one size exactly one succeeds, and the log has no gap.",
        "A check before the write is not a condition on it.",
        level=Level.STOCHASTIC,
    ),
    _aud(
        "AUD-005",
        "Every head's checkpoint is kept and given in order of size.",
        "Verification brackets a tampered record between two checkpoints.",
    ),
    _aud(
        "AUD-006",
        "unsettled gives exactly the intents before a time that have no outcome, oldest first.",
        "Recovery that misses one leaves an effect that nobody accounts for.",
    ),
    _aud(
        "AUD-007",
        "erase_sealed forgets salt, sealed part and tag of exactly the entries with the tag, and "
        "leaves every leaf.",
        "Erasure must reach every record of a subject and break no proof.",
    ),
    _aud(
        "AUD-008",
        "erase removes the whole log, counts it, and may be repeated.",
        "Off-boarding includes the trail.",
    ),
    _aud(
        "AUD-009",
        "A batch is appended whole, with its head.",
        "A head without its entries is a log that cannot verify.",
    ),
    _aud(
        "AUD-010",
        "After close every call raises ClosedError, and close may be repeated.",
        "A closed sink that accepts records loses them.",
    ),
    _aud(
        "AUD-011",
        "Through the core, a trail over this sink verifies; intents, outcomes, access and denials "
        "are all in it.",
        "No effect without a record is the promise the sink carries.",
    ),
    _aud(
        "AUD-012",
        "Entries of any legal size are kept, up to a thousand ids in one.",
        "A column that truncates cuts records silently.",
    ),
    _aud(
        "AUD-040",
        "unsettled looks through the whole log, however long, and its limit takes the oldest by "
        "recorded_at, then by index.",
        "A limit before the order, or a look at the end only, leaves the oldest effects without "
        "account.",
    ),
    _aud(
        "AUD-041",
        "The checkpoints of hundreds of heads are given in order, in pages of any size.",
        "A page that ends early ends the proof.",
    ),
    _aud(
        "AUD-042",
        "erase_sealed reaches every one of over a thousand entries, and none whose tag differs in "
        "one byte.",
        "Batches and shortened tags forget too little or somebody else.",
        capability="erase_sealed",
    ),
    _aud(
        "AUD-043",
        "Sealed parts and leaves come back as they were at every size: empty, at 64 KiB, and over "
        "1 MiB.",
        "Columns end, texts are trimmed, and what is empty becomes what is absent.",
    ),
    _aud(
        "AUD-044",
        "After erase a log begins anew: nothing of the first is in it, and nothing that settled or "
        "was forgotten then counts now.",
        "What is kept by size or by operation survives the log that it was of.",
    ),
    _aud(
        "AUD-045",
        "After erase_sealed neither salt nor sealed part nor tag is found below the interface.",
        "An entry that is marked as forgotten is read by whoever holds the file.",
        capability="erase_sealed",
    ),
    _aud(
        "AUD-046",
        "Full batches are appended whole wherever they begin, and read whole in pages of any size "
        "from any place.",
        "Past the first thousand rows another statement, file or page is at work.",
    ),
    _aud(
        "TEN-401",
        "What a scope sees of its log does not depend on what any other scope appends.",
        "A shared sequence, link or lock tells each tenant how busy the others are.",
    ),
    _aud(
        "TEN-402",
        "erase and erase_sealed in one scope leave every twin's log as it was, also where both "
        "hold the same bytes.",
        "Erasing `t1` by prefix takes the evidence of `t10` along; what is kept once for all is "
        "let go with the last of one scope.",
    ),
    _aud(
        "TEN-403",
        "A failing append of one scope touches no other scope's log.",
        "One tenant must not be able to stop another's audit.",
    ),
    _aud(
        "TEN-430",
        "Logs of over a thousand entries, with large parts, operations and tags that all scopes "
        "have, are each scope's own in every read, and stay so when one is forgotten or erased.",
        "Scopes are lost past the first page, and large parts are kept apart from their rows.",
    ),
    _aud(
        "TEN-431",
        "erase and erase_sealed in a scope that has nothing touch nobody, and tell of nothing.",
        "An empty condition, prefix or folder is everybody's.",
    ),
    _aud(
        "TEN-432",
        "Hundreds of tenants are kept apart, whatever their names.",
        "Names that are cut, or hashed to few bytes, collide when there are many.",
    ),
    _aud(
        "SEC-401",
        "No error text names a physical place, and nothing outside the error tree is raised.",
        "Texts end up in logs and answers.",
    ),
    _aud(
        "SEC-402",
        "No content that passes through the core reaches the sink.",
        "A trail is kept longer than what it tells of.",
    ),
    _aud(
        "CFG-401",
        "check reports nothing on a ready sink, and changes nothing.",
        "Opening must not create or migrate.",
    ),
    _aud(
        "CFG-402",
        "On a place that was never provisioned, check names the problem and nothing is created.",
        "A sink that makes its own place hides a misspelt one.",
    ),
    _aud(
        "CFG-403",
        "Every setting known to be broken is reported by check as a Problem that names it.",
        "The operator sees all that is wrong at once, or the deployment does not open.",
    ),
    _aud(
        "CFG-404",
        "When the sink fails, nothing is written to any store and nothing read is released.",
        "Audit that can be skipped is not audit.",
    ),
    _aud(
        "DUR-401",
        "What was appended is there after the sink is closed and opened again.",
        "An acknowledgement before durability is a lie that shows after a restart.",
    ),
    _aud(
        "AUD-090",
        "An acknowledged record survives the loss of power.",
        "Only a write that reached the disk is durable.",
        level=Level.UNTESTED,
        reason="it needs a machine whose power can be cut, or a disk that drops unsynced writes",
    ),
    _aud(
        "AUD-091",
        "Operations and subjects' tags of the greatest length that differ in one character only, "
        "wherever it is, are told apart by every call, in one scope and in several.",
        "Operations of one millisecond begin alike, and an outcome that settles another's intent "
        "leaves an effect without account.",
    ),
    _aud(
        "AUD-092",
        "A page answers from what is there when it is asked for: after writes and deletions since "
        "the page before, after the scope's end, and after a new beginning.",
        "What is kept of one page for the next outlives what was deleted and erased in between.",
    ),
)
