"""What an atom store promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_core.spi import StoreRole


def _atom(
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
        role=StoreRole.ATOMS,
        level=level,
        profile=profile,
        capability=capability,
        sentence=sentence,
        rationale=rationale,
        reason=reason,
    )


ATOMS: Final[tuple[Requirement, ...]] = (
    _atom(
        "ATOM-001",
        "A record comes back with its fields, body, stamp and version as it was committed.",
        "A body that is re-encoded, or a number that changes type, is another record.",
    ),
    _atom(
        "ATOM-002",
        "get aligns with the ids it is asked for, repeats included, None where there is no record.",
        "Answers out of line give one record's data under another's id.",
    ),
    _atom(
        "ATOM-003",
        "A commit of which any operation fails changes nothing, wherever in the batch it stands.",
        "The ledger is what other stores are reconciled with; half a batch is a lie.",
    ),
    _atom(
        "ATOM-004",
        "Operations of one commit act in order and see one another's effects.",
        "A batch that replaces what it inserted is legal and common.",
    ),
    _atom(
        "ATOM-005",
        "commit tells, aligned with the operations, which of them changed something.",
        "Idempotent writers count on it to say what is new.",
    ),
    _atom(
        "ATOM-006",
        "An insert of a taken id raises AlreadyExistsError, or leaves the record if told to keep, "
        "with bodies of any size.",
        "An upsert in place of an insert overwrites what was acknowledged.",
    ),
    _atom(
        "ATOM-007",
        "A replace succeeds only on the version before its own, else PreconditionFailedError.",
        "Compare-and-set is how every definition and intent moves.",
    ),
    _atom(
        "ATOM-008",
        "A remove of a named version deletes only that one; without a version absent is fine.",
        "Deleting what somebody replaced loses their work.",
    ),
    _atom(
        "ATOM-009",
        "A requirement that does not hold (present, absent, version) fails the whole commit.",
        "Parents are checked in the same commit that adds their children.",
    ),
    _atom(
        "ATOM-010",
        "A query in pages of any size gives every matching record once, in ascending id order.",
        "Paging by anything but the id skips or repeats under writes.",
    ),
    _atom(
        "ATOM-011",
        "Every declared filter operator has its two-valued meaning, absent fields included.",
        "NULL logic in SQL makes `!=` miss records that have no value.",
    ),
    _atom(
        "ATOM-012",
        "Values in filters match only themselves, whatever characters they hold.",
        "Quotes, wildcards and operators in values are injections.",
    ),
    _atom(
        "ATOM-013",
        "A bool is not a number, and an int equals a float of the same value.",
        "Engines store booleans as 0 and 1 and forget which was which.",
    ),
    _atom(
        "ATOM-014",
        "count is exact, with and without a filter.",
        "Estimates come from statistics that other scopes share.",
    ),
    _atom(
        "ATOM-015",
        "walk gives every reachable edge once, at its smallest depth, by (depth, id), to the limit "
        "and depth that were asked for.",
        "Lineage that misses a diamond's second path or loops on a cycle answers wrongly or never.",
    ),
    _atom(
        "ATOM-016",
        "A commit of thousands of records is one commit.",
        "Bulk writes split behind the caller's back are not all or nothing.",
    ),
    _atom(
        "ATOM-017",
        "Collections are apart: the same id in two of them is two records.",
        "One table for all, keyed by id, lets an event overwrite an asset.",
    ),
    _atom(
        "ATOM-018",
        "erase removes every record of the scope, counts them, and may be repeated.",
        "Off-boarding that leaves edges or events is a promise broken.",
    ),
    _atom(
        "ATOM-019",
        "Of several racing compare-and-set writers exactly one wins each version.",
        "A check before the write is not a condition on it.",
        level=Level.STOCHASTIC,
    ),
    _atom(
        "ATOM-020",
        "After close every call raises ClosedError, and close may be repeated.",
        "A closed store that still answers serves from a connection that nobody owns.",
    ),
    _atom(
        "ATOM-021",
        "A record that nobody touches is in every query while others come and go.",
        "Paging by offset drops records when earlier ones are deleted.",
    ),
    _atom(
        "ATOM-022",
        "A replaced record leaves nothing of the old one behind: fields, body or filter matches.",
        "Indexes kept beside the record go stale.",
    ),
    _atom(
        "ATOM-060",
        "A commit of as many operations as are declared is all or nothing, and so many records are "
        "read by id, paged through, removed and erased.",
        "A batch that is cut at a size of the engine's is applied in part, or loses its end.",
    ),
    _atom(
        "ATOM-061",
        "A body of any size up to the declared one comes back byte by byte.",
        "Columns, packets and buffers end at sizes of their own, and some cut without a word.",
    ),
    _atom(
        "ATOM-062",
        "Every integer of 64 bits and every text of a field comes back as it was given, and a "
        "filter tells it from its neighbours.",
        "Numbers that pass through a float, and texts that are composed or trimmed, are others.",
    ),
    _atom(
        "ATOM-063",
        "A filter may be as large as a filter can be: in values, parts, depth and length of texts.",
        "Engines have limits on parameters and expressions that a product meets in production.",
    ),
    _atom(
        "ATOM-064",
        "walk follows as many edges as it is asked for, to the depth and from all the ids given.",
        "A lineage that ends at a depth nobody named looks complete.",
    ),
    _atom(
        "ATOM-065",
        "Through the core, what is as large as the store declares is written and read, and what is "
        "larger is refused with its own error and leaves nothing.",
        "A limit that nobody names in time is met as half a write.",
    ),
    _atom(
        "ATOM-066",
        "Once the store is closed, nothing of a record that was removed or replaced is found below "
        "the interface.",
        "What is deleted for a person must not stay in a bin, a history or a shadow table.",
    ),
    _atom(
        "TEN-201",
        "What a scope sees does not depend on what any other scope does.",
        "Isolation is non-interference: of values, errors, order and counts.",
    ),
    _atom(
        "TEN-202",
        "erase, remove and replace in one scope leave every twin of it as it was, also where both "
        "hold the same bytes.",
        "Off-boarding `t1` by prefix or LIKE takes `t10` along; what is kept once for all is let "
        "go with the last of one scope.",
    ),
    _atom(
        "TEN-203",
        "The same collection and id live their own lives in every scope.",
        "A primary key without the scope lets one tenant steal or block another's id.",
    ),
    _atom(
        "TEN-204",
        "walk never leaves its scope, also where two scopes share node ids.",
        "A recursive query that checks the scope only at its start wanders.",
    ),
    _atom(
        "TEN-205",
        "Through the core, two scopes with the same writes never see each other, and nothing that "
        "either stored appears in the other's answers or logs.",
        "The walls have to hold together, not only one by one.",
    ),
    _atom(
        "TEN-230",
        "A large body is its own scope's, also where another has one under the same id, version "
        "and length.",
        "What is kept apart for its size is found again by less than all that it belongs to.",
    ),
    _atom(
        "TEN-231",
        "Calls about thousands of records read, walk, remove and erase those of their scope alone.",
        "What is done in bulk goes another way than the rest, and loses the scope there.",
    ),
    _atom(
        "SEC-201",
        "No error text names a physical place or a value, and nothing outside the tree is raised.",
        "Statements with their parameters in a message are content in a log.",
    ),
    _atom(
        "CFG-201",
        "check reports nothing on a ready store, and changes nothing.",
        "Opening must not migrate, repair or create.",
    ),
    _atom(
        "CFG-202",
        "On a place that was never provisioned, check names the problem and nothing is created.",
        "A store that makes its own tables hides a misspelt database.",
    ),
    _atom(
        "CFG-203",
        "Every setting known to be broken is reported by check as a Problem that names it.",
        "The operator sees all that is wrong at once, or the deployment does not open.",
    ),
    _atom(
        "DUR-201",
        "What was committed is there after the store is closed and opened again.",
        "An acknowledgement before durability is a lie that shows after a restart.",
    ),
    _atom(
        "ATOM-090",
        "An acknowledged commit survives the loss of power.",
        "Only a write that reached the disk is durable.",
        level=Level.UNTESTED,
        reason="it needs a machine whose power can be cut, or a disk that drops unsynced writes",
    ),
    _atom(
        "ATOM-091",
        "Ids, nodes of edges and texts of the greatest length that differ in one character only, "
        "wherever it is, are told apart by every call that takes one, in every collection, in one "
        "scope and in several.",
        "Ids are derived or numbered: they begin alike, or end alike, and what is compared in part "
        "gives one thing for another.",
    ),
    _atom(
        "ATOM-092",
        "A filter is answered by the type of its values, whatever was asked before, here or in "
        "another scope: True is not 1, 1 is not '1', and empty is not absent; also where it "
        "matches all records, none, or one.",
        "What is kept under a value is found under all values that equal it, and in Python True "
        "equals 1.",
    ),
    _atom(
        "ATOM-093",
        "A page answers from what is there when it is asked for: after writes and deletions since "
        "the page before, after the scope's end, and after a new beginning.",
        "What is kept of one page for the next outlives what was deleted and erased in between.",
    ),
)
