"""What a vector store promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_core.spi import StoreRole


def _vec(
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
        role=StoreRole.VECTORS,
        level=level,
        profile=profile,
        capability=capability,
        sentence=sentence,
        rationale=rationale,
        reason=reason,
    )


VECTORS: Final[tuple[Requirement, ...]] = (
    _vec(
        "VEC-001",
        "A row comes back with its fields and stamp, and its vector bit for bit, also once the "
        "buffer that it was written from holds something else.",
        "Stores that normalise or round return another vector than was written.",
        capability="round_trip:bitexact",
    ),
    _vec(
        "VEC-002",
        "get aligns with the ids it is asked for, None where there is no row, repeats included.",
        "Answers out of line give one row's vector under another's id.",
    ),
    _vec(
        "VEC-003",
        "An index is made only by create_index, idempotently for one definition, and another "
        "definition under its name and version raises IndexLockedError.",
        "A definition that drifts silently mixes vectors that cannot be compared.",
    ),
    _vec(
        "VEC-004",
        "Every call on an index that the scope has not raises NotFoundError and makes nothing.",
        "Implicit creation turns a typing error into an empty index that answers.",
    ),
    _vec(
        "VEC-005",
        "Distances under cosine are those of the definition, also for vectors of any length.",
        "Libraries report similarities, roots and shifted products under one name.",
        capability="metrics:cosine",
    ),
    _vec(
        "VEC-006",
        "Distances under dot are those of the definition.",
        "The same pair scores +5, -4 or -5 as inner product, depending on the library.",
        capability="metrics:dot",
    ),
    _vec(
        "VEC-007",
        "Distances under l2sq are those of the definition, the square and not its root.",
        "Half of the libraries return the root and call it the same.",
        capability="metrics:l2sq",
    ),
    _vec(
        "VEC-008",
        "A query gives exactly min(k, rows that match) hits, sorted by (distance, id).",
        "Fewer hits under a filter, padding, or an order of their own are the usual failures.",
    ),
    _vec(
        "VEC-009",
        "An exact store misses no neighbour: the hits are those of a scan of our own.",
        "Approximate indexes collapse in small tenants and under filters.",
        capability="exact",
    ),
    _vec(
        "VEC-010",
        "A filter narrows the answer to rows that match, with two-valued meaning, and k counts "
        "after it.",
        "Filtering after the search returns too few, or none.",
    ),
    _vec(
        "VEC-011",
        "Values in filters match only themselves, whatever characters they hold.",
        "Filter strings are injected into query languages.",
    ),
    _vec(
        "VEC-012",
        "Several queries in one call are each answered exactly as if they came alone.",
        "Batched arithmetic rounds differently and reorders near ties.",
    ),
    _vec(
        "VEC-013",
        "Equally near rows are cut and ordered by id.",
        "An order among equals that changes between calls makes pages and caches lie.",
        capability="stable_ties",
    ),
    _vec(
        "VEC-014",
        "An upsert replaces a row as a whole, fields included, and the last of duplicates wins.",
        "Merging metadata keeps values that were meant to go.",
    ),
    _vec(
        "VEC-015",
        "What was written or deleted is seen by the next read through the same store.",
        "An index that catches up later answers from the past.",
        capability="session_reads",
    ),
    _vec(
        "VEC-016",
        "delete removes exactly the ids it is given and tells how many there were.",
        "Deleting by prefix or pattern takes neighbours along.",
    ),
    _vec(
        "VEC-017",
        "delete_where removes exactly the rows that match and tells how many.",
        "Erasure by filter is how a subject's vectors go.",
    ),
    _vec(
        "VEC-018",
        "count is exact, with and without a filter.",
        "Estimates come from statistics that other scopes share.",
    ),
    _vec(
        "VEC-019",
        "scan in pages of any size gives every row once, in ascending id order.",
        "Exports and rebuilds that skip rows lose them.",
    ),
    _vec(
        "VEC-020",
        "A dropped index is gone with its rows; made again it is empty, and old references raise "
        "StaleReferenceError.",
        "A reference that outlives its index writes into its successor.",
    ),
    _vec(
        "VEC-021",
        "Indexes are apart: the same id in two of them, or in two versions, is two rows.",
        "One id space for all indexes lets one embedding overwrite another.",
    ),
    _vec(
        "VEC-022",
        "erase removes every index and row of the scope, counts the rows, and may be repeated.",
        "Off-boarding that leaves vectors leaves what they were made from.",
    ),
    _vec(
        "VEC-023",
        "After close every call raises ClosedError, and close may be repeated.",
        "A closed store that still answers serves from a connection that nobody owns.",
    ),
    _vec(
        "VEC-024",
        "Statistics are of this index in this scope only.",
        "Totals of a shared engine tell each tenant the size of the others.",
    ),
    _vec(
        "VEC-028",
        "While an index is inactive or offloaded every read and write of it raises "
        "TenantInactiveError and changes nothing; only activation wakes it, with every row; no "
        "other index is touched.",
        "An engine that wakes a tenant for whoever asks has none that is switched off.",
        capability="states:inactive",
    ),
    _vec(
        "VEC-060",
        "An upsert of as many rows as are declared is whole, and so many rows are read by id, "
        "found by one query, paged through and deleted.",
        "A batch that is cut at a size of the engine's loses its end without a word.",
    ),
    _vec(
        "VEC-061",
        "An upsert that fails writes nothing, at whichever row it failed and however many it had.",
        "A batch that is sent on in pieces stands in part when a later piece fails.",
        capability="atomic_batch",
    ),
    _vec(
        "VEC-062",
        "Every dimension up to the declared one is served: rows come back, and distances hold.",
        "Engines have limits of their own, which a declaration that was copied does not know.",
    ),
    _vec(
        "VEC-063",
        "As many queries as may come in one call are each answered as if they came alone.",
        "What is answered in groups goes wrong at the second group.",
    ),
    _vec(
        "VEC-064",
        "Every integer of 64 bits, finite float, text and list of a field comes back as it was "
        "given, and a filter tells it from its neighbours; an empty list is not an absent one.",
        "Numbers that pass through a float, and texts that are composed or trimmed, are others.",
    ),
    _vec(
        "VEC-065",
        "A filter may be as large as a filter can be, and an index may have many fields.",
        "Engines have limits on parameters and columns that a product meets in production.",
    ),
    _vec(
        "VEC-066",
        "Once the store is closed, nothing of a row that was deleted or replaced, or whose index "
        "was dropped, is found below the interface.",
        "What is deleted for a person must not stay in a bin, a history or a shadow table.",
    ),
    _vec(
        "VEC-067",
        "Through the core, what is as large as the store declares is written and found, and what "
        "is larger is refused with its own error and leaves nothing.",
        "A limit that nobody names in time is met as half a write.",
    ),
    _vec(
        "TEN-301",
        "What a scope sees does not depend on what any other scope does.",
        "Isolation is non-interference: of values, errors, order, scores and counts.",
    ),
    _vec(
        "TEN-302",
        "erase, delete, delete_where, drop_index and upsert in one scope leave every twin as it "
        "was, also where both hold the same rows.",
        "A broad filter without the tenant is a disaster with one keystroke; what is kept once for "
        "all is let go with the last of one scope.",
    ),
    _vec(
        "TEN-303",
        "The same index, definition or not, and the same ids live their own lives in every scope.",
        "A shared id space lets one tenant steal another's rows; a shared definition, block it.",
    ),
    _vec(
        "TEN-304",
        "None of a scope's nearest neighbours changes when others bring a hundred times its data, "
        "nearer to its queries than its own.",
        "Shared indexes return too few hits, or other tenants' in place of one's own.",
    ),
    _vec(
        "TEN-305",
        "Through the core, two scopes with the same rows never see each other.",
        "The walls have to hold together, not only one by one.",
    ),
    _vec(
        "TEN-330",
        "Queries with vectors of every dimension, and many in one call, are answered from their "
        "scope's rows alone.",
        "Wide vectors and large calls go another way than the rest, and lose the scope there.",
    ),
    _vec(
        "TEN-331",
        "Calls about thousands of rows read, find, delete and erase those of their scope alone.",
        "What is done in bulk goes another way than the rest, and loses the scope there.",
    ),
    _vec(
        "TEN-332",
        "Every name and version of an index is free in every scope, whatever others define under "
        "it, and names are told apart to their last character.",
        "A lock that is asked for in another scope's name tells that the other is there.",
    ),
    _vec(
        "SEC-301",
        "No error text names a physical place, and nothing outside the error tree is raised.",
        "Texts end up in logs and answers; a path in them is a map for an attacker.",
    ),
    _vec(
        "CFG-301",
        "check reports nothing on a ready store, and changes nothing.",
        "Opening must not create or migrate.",
    ),
    _vec(
        "CFG-302",
        "On a place that was never provisioned, check names the problem and nothing is created.",
        "A store that makes its own place hides a misspelt one.",
    ),
    _vec(
        "CFG-303",
        "Every setting known to be broken is reported by check as a Problem that names it.",
        "The operator sees all that is wrong at once, or the deployment does not open.",
    ),
    _vec(
        "DUR-301",
        "What was written is there after the store is closed and opened again.",
        "An acknowledgement before durability is a lie that shows after a restart.",
    ),
    _vec(
        "VEC-090",
        "An acknowledged row survives the loss of power.",
        "Only a write that reached the disk is durable.",
        level=Level.UNTESTED,
        reason="it needs a machine whose power can be cut, or a disk that drops unsynced writes",
    ),
    _vec(
        "VEC-091",
        "Ids, names of indexes and fields, and texts, of the greatest length that differ in one "
        "character only, wherever it is, are told apart by every call that takes one, in one scope "
        "and in several.",
        "Ids are derived or numbered: they begin alike, or end alike, and what is compared in part "
        "gives one thing for another.",
    ),
    _vec(
        "VEC-092",
        "A filter is answered by the type that its field has in this index, whatever was asked of "
        "others before, here or in another scope: True is not 1, 1 is not '1', and empty is not "
        "absent.",
        "What is kept under a field and a value is found under all values that equal it, and in "
        "Python True equals 1.",
    ),
    _vec(
        "VEC-093",
        "An index that a filter empties stays an index; one that is empty is dropped in its own "
        "scope and version alone; and a delete_where of all rows, of one or of none takes exactly "
        "those.",
        "Where everything goes, or nothing is left, stores take a shorter way, and lose the scope "
        "there.",
    ),
    _vec(
        "VEC-094",
        "A page answers from what is there when it is asked for: after writes and deletions since "
        "the page before, after the scope's end, and after a new beginning.",
        "What is kept of one page for the next outlives what was deleted and erased in between.",
    ),
)
