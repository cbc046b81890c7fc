"""What a raw store promises."""

from __future__ import annotations

from typing import Final

from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_core.spi import StoreRole


def _raw(
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
        role=StoreRole.RAW,
        level=level,
        profile=profile,
        capability=capability,
        sentence=sentence,
        rationale=rationale,
        reason=reason,
    )


RAW: Final[tuple[Requirement, ...]] = (
    _raw(
        "RAW-001",
        "What is put under a key comes back byte for byte, with its attributes, whatever the key.",
        "Stores that decode, trim, fold or normalise names lose one artifact under another.",
    ),
    _raw(
        "RAW-002",
        "A put that must create fails with AlreadyExistsError when the key is taken, even by the "
        "very same, and changes nothing.",
        "Servers exist that accept the condition, ignore it, and overwrite.",
        capability="conditional_create",
    ),
    _raw(
        "RAW-003",
        "A put that names a version replaces exactly that one, and fails with "
        "PreconditionFailedError for a stale or absent one, whatever it brings.",
        "Without compare-and-set two writers lose each other's work.",
        capability="conditional_replace",
    ),
    _raw(
        "RAW-004",
        "A delete that names a version deletes exactly that one, and fails with "
        "PreconditionFailedError otherwise.",
        "A server that ignores the condition deletes what a newer writer has put.",
        capability="conditional_delete",
    ),
    _raw(
        "RAW-005",
        "head and open of an absent key raise NotFoundError.",
        "A store that answers None or an empty object makes absence look like data.",
    ),
    _raw(
        "RAW-006",
        "A listing in pages of any size gives every key once, in UTF-8 byte order.",
        "Cursors built on another order skip or repeat keys.",
    ),
    _raw(
        "RAW-007",
        "A list prefix matches its own characters and nothing else.",
        "Patterns in LIKE and glob turn `_`, `%`, `*` and `[` into wildcards.",
    ),
    _raw(
        "RAW-008",
        "With a delimiter, keys below the prefix are rolled up, in order, and counted in the page.",
        "A roll-up that hides a key, or counts outside the limit, breaks paging.",
        capability="delimiter",
    ),
    _raw(
        "RAW-009",
        "delete removes exactly one key, and an absent key is not an error.",
        "Deleting by prefix takes `ab` along with `a`.",
    ),
    _raw(
        "RAW-010",
        "delete_many removes exactly the keys it is given, takes none for a pattern, and reports "
        "only those that failed.",
        "Batch deletes are where globs and partial failures hide.",
    ),
    _raw(
        "RAW-011",
        "A range gives exactly its bytes; one that holds no byte raises RangeNotSatisfiableError.",
        "Servers answer the whole object, clamp in their own way, or fail on the last byte.",
        capability="ranges",
    ),
    _raw(
        "RAW-012",
        "A body that raises leaves no object, and an object that was there as it was.",
        "A partial artifact that looks whole is worse than none.",
    ),
    _raw(
        "RAW-013",
        "A body whose bytes are not those declared leaves no object.",
        "Corruption on the way in is detectable only before the object is visible.",
    ),
    _raw(
        "RAW-014",
        "A streamed body of unknown length and several MiB is stored whole, with its digest.",
        "Artifacts are larger than buffers and often of unknown length.",
    ),
    _raw(
        "RAW-015",
        "An opened object is read to its end from one version, whatever happens to the key.",
        "Mixed versions pass every check but a digest.",
    ),
    _raw(
        "RAW-016",
        "copy gives the target the source's bytes and the new attributes, and leaves the source.",
        "Copies that carry old attributes carry another key's stamp.",
        capability="copy",
    ),
    _raw(
        "RAW-017",
        "open that names a version raises PreconditionFailedError unless it is the current one.",
        "Reads in parts are pinned by it.",
    ),
    _raw(
        "RAW-018",
        "Keys that begin one another, such as `k` and `k/m`, live side by side.",
        "File systems and path libraries make one of them impossible or delete it with the other.",
    ),
    _raw(
        "RAW-019",
        "Every write of a key gives it another ETag, also when the bytes are the same.",
        "A digest as ETag lets a stale writer win after A, B, A.",
    ),
    _raw(
        "RAW-020",
        "erase removes every object of the scope, counts them, and may be repeated.",
        "Off-boarding that leaves objects is a promise broken to the tenant.",
    ),
    _raw(
        "RAW-021",
        "An empty object is stored and read; every range of it is unsatisfiable.",
        "Empty files are where off-by-one errors live.",
    ),
    _raw(
        "RAW-022",
        "Of several racing creates of one key, exactly one succeeds and its bytes are kept.",
        "A check before the write is not a condition on it.",
        level=Level.STOCHASTIC,
        capability="conditional_create",
    ),
    _raw(
        "RAW-023",
        "A key that nobody touches is in every listing while others come and go.",
        "Paging by offset drops keys when earlier ones are deleted.",
    ),
    _raw(
        "RAW-024",
        "After close every call raises ClosedError, and close may be repeated.",
        "A closed store that still answers serves from a connection that nobody owns.",
    ),
    _raw(
        "RAW-025",
        "The digest and size that put and head report are those of the stored bytes.",
        "The core compares them with what it sent; an echo of the declaration proves nothing.",
    ),
    _raw(
        "RAW-026",
        "A listing's `after` is exclusive, need not exist, and never goes back.",
        "A cursor on a deleted key must continue, not start again.",
    ),
    _raw(
        "RAW-030",
        "A signed GET gives the bytes of exactly the object that it was signed for, whatever its "
        "key.",
        "A URL goes past every check of the core; what it gives nobody looks at again.",
        capability="presign_get",
    ),
    _raw(
        "RAW-031",
        "A signed PUT stores the bytes and the type that were announced; the engine refuses any "
        "other length, bytes or type, and nothing is left of it.",
        "Whoever holds a URL for an invoice could upload anything in its place.",
        capability="presign_put",
    ),
    _raw(
        "RAW-032",
        "A signed GET is refused once its time is over.",
        "URLs end up in logs, histories and mails, and stay there.",
        capability="presign_get",
    ),
    _raw(
        "RAW-033",
        "A signed PUT is refused once its time is over, and nothing is left of it.",
        "An upload that arrives after it was swept up is an object that nobody knows of.",
        capability="presign_put",
    ),
    _raw(
        "RAW-040",
        "The history of a key names each of its versions once, newest first, in pages of any size, "
        "says which one is current, and names nothing of another key.",
        "Engines list versions by prefix: a careless history of `k` holds that of `k/m`.",
        capability="versions",
    ),
    _raw(
        "RAW-041",
        "Every version is read byte for byte with its attributes, after it was replaced and after "
        "its key was deleted; what is nobody's version raises NotFoundError.",
        "A version that reads as the current object is a backup that fails when it is needed.",
        capability="versions",
    ),
    _raw(
        "RAW-042",
        "restore makes an old version the object again as a new version, with its bytes and "
        "attributes, under the conditions of a put, and takes nothing from the history.",
        "A restore that rewinds destroys what it was to be compared with.",
        capability="versions",
    ),
    _raw(
        "RAW-043",
        "A deletion leaves every version readable and none current, and its marker is neither read "
        "nor restored.",
        "A history that ends with the first deletion protects from nothing.",
        capability="versions",
    ),
    _raw(
        "RAW-044",
        "purge destroys exactly the versions that it is given, and passes over what is no version "
        "of the key.",
        "Who is to be forgotten is forgotten in old versions too, and nobody else is.",
        capability="versions",
    ),
    _raw(
        "RAW-045",
        "erase takes the whole history of the scope, of deleted keys too, and no other scope's.",
        "Old versions are where an erased tenant goes on being stored.",
        capability="versions",
    ),
    _raw(
        "RAW-060",
        "Keys, metadata and objects as large as is declared are taken, and come back whole.",
        "What is declared is what the core lets through: the store is the last to say no.",
    ),
    _raw(
        "RAW-061",
        "An object larger than is declared is refused with QuotaExceededError where it is streamed "
        "too, and nothing of it is left; a longer key and more metadata never reach the store.",
        "A stream's length is known only at its end, when half of it may already be there.",
    ),
    _raw(
        "RAW-062",
        "Objects of more than a chunk come back byte for byte, whole and in every range, and two "
        "that differ in one byte are told apart, wherever it is.",
        "The second chunk is where offsets go wrong, and a digest of the first stands for no "
        "other.",
    ),
    _raw(
        "RAW-063",
        "Objects that are read and written at the same time, in turns or by several threads, each "
        "give their own bytes, whatever their size.",
        "One buffer for all is right as long as there is one reader.",
    ),
    _raw(
        "RAW-064",
        "More than a thousand objects are listed whole at every limit, and deleted exactly in one "
        "call.",
        "Engines end their pages and batches at a thousand, some without saying so.",
    ),
    _raw(
        "RAW-065",
        "No ETag of a key is ever given again, not after a deletion, an erasure or an opening, and "
        "an old one is refused by whatever names it, ranges too.",
        "A counter that begins anew lets a writer who slept overwrite what it never saw.",
    ),
    _raw(
        "RAW-066",
        "After delete and delete_many nothing of the object is found below the interface, neither "
        "bytes nor key nor metadata; where histories are kept, after purge.",
        "A file that was renamed instead of removed is still copied, backed up and seized.",
    ),
    _raw(
        "RAW-070",
        "set_system replaces an object's system metadata as a whole, and leaves its bytes, digest, "
        "type and metadata as they are.",
        "A legal hold that costs the object its name or its bytes protects nothing.",
        capability="conditional_replace",
    ),
    _raw(
        "RAW-071",
        "set_system changes exactly the version that is named, with PreconditionFailedError for a "
        "stale or absent one, and gives another ETag, which later conditions see.",
        "A deletion that was decided before a hold must not go through after it.",
        capability="conditional_replace",
    ),
    _raw(
        "RAW-072",
        "Of several racing changes and puts that name one version, at most one succeeds, and no "
        "object is made of two.",
        "A hold that lands on bytes that nobody looked at holds the wrong thing.",
        level=Level.STOCHASTIC,
        capability="conditional_replace",
    ),
    _raw(
        "RAW-073",
        "An object has the engine's lock that it is made with from its first moment, whether it is "
        "put, copied or restored, and every way to look tells the lock.",
        "Between an object and a lock that follows it there is time to delete it.",
        capability="object_lock",
    ),
    _raw(
        "RAW-074",
        "set_lock sets and lifts the hold, and extends but never shortens the period, of exactly "
        "the version that is named, and leaves what is not said as it is.",
        "Two who protect a thing for their own reasons must not undo each other's.",
        capability="object_lock",
    ),
    _raw(
        "RAW-075",
        "What is locked nothing destroys: purge and erase raise RetentionError with its key, put "
        "and delete do or leave it in the history; nothing else and no other scope is kept by it.",
        "An engine's lock is there for the day on which the program is wrong.",
        capability="object_lock",
    ),
    _raw(
        "TEN-101",
        "What a scope sees does not depend on what any other scope does.",
        "Isolation is non-interference: of values, errors, order and counts.",
    ),
    _raw(
        "TEN-102",
        "erase, delete, delete_many and puts in one scope leave every twin of it as it was, also "
        "where both hold the same bytes.",
        "Off-boarding `t1` by prefix takes `t10` along; what is kept once for all is let go with "
        "the last of one scope.",
    ),
    _raw(
        "TEN-103",
        "Asking for another scope's key is answered exactly as asking for what nobody has.",
        "A different text or attribute tells that the key exists elsewhere.",
    ),
    _raw(
        "TEN-104",
        "Every listed entry carries the physical name that the naming codec makes of its scope and "
        "key.",
        "It is the evidence the guard checks; without it a listing proves nothing.",
    ),
    _raw(
        "TEN-105",
        "Through the core, two scopes with the same keys never see each other, and nothing that "
        "either stored appears in the other's answers, errors or logs.",
        "The walls have to hold together, not only one by one.",
    ),
    _raw(
        "TEN-107",
        "A signature for one scope's object is good for no other object, no other scope's, and no "
        "other method.",
        "A signature that does not cover the whole name opens the bucket to whoever can type.",
        capability="presign_get",
    ),
    _raw(
        "TEN-108",
        "A signature for an upload writes nowhere but where it was signed for, and reads nothing.",
        "The name of another tenant's object is easily guessed; the signature must not be.",
        capability="presign_put",
    ),
    _raw(
        "TEN-111",
        "A version of another scope or another key is answered exactly as what is nobody's, and no "
        "verb of histories reaches it.",
        "Version ids are handed around in logs and mails, and are often numbers in a row.",
        capability="versions",
    ),
    _raw(
        "TEN-130",
        "Objects of more than a chunk are each scope's own, also where they begin alike, have one "
        "key and one size, and are read and written at one moment.",
        "Buffers, spools and blocks that are kept once are named by too little: a key, a size, a "
        "first block.",
    ),
    _raw(
        "TEN-131",
        "A delete_many of over a thousand keys takes no twin's, and over a thousand objects are "
        "listed, erased and counted beside them.",
        "Large batches go another way than small ones, and the scope is lost there.",
    ),
    _raw(
        "TEN-132",
        "Deleting in and erasing a scope that has nothing touches nobody.",
        "An empty condition, prefix or folder is everybody's.",
    ),
    _raw(
        "TEN-133",
        "Hundreds of tenants are kept apart, whatever their names.",
        "Names that are cut, or hashed to few bytes, collide when there are many.",
    ),
    _raw(
        "TEN-150",
        "Streams, ranges and listings that one scope leaves half read, dozens of them, change no "
        "answer: no other scope's, not its own to other calls, and nothing of the streams' rest.",
        "A pool, table or limit of open streams that all scopes share is one scope's to exhaust.",
    ),
    _raw(
        "TEN-151",
        "A put whose body stops in the middle, or itself calls the store for another scope, "
        "changes no other scope's answer, though that may have to wait; when the body has come to "
        "its end the object is there whole.",
        "A spool, mark or current scope that is set before the body is read is another's by the "
        "time its end has come.",
    ),
    _raw(
        "SEC-101",
        "No error text names a physical place, and nothing outside the error tree is raised.",
        "Texts end up in logs and answers; a path or bucket in them is a map for an attacker.",
    ),
    _raw(
        "CFG-101",
        "check reports nothing on a ready store, and changes nothing.",
        "Opening must not repair, create or touch.",
    ),
    _raw(
        "CFG-102",
        "On a place that was never provisioned, check names the problem and nothing is created.",
        "A store that makes its own place hides a misspelt one.",
    ),
    _raw(
        "CFG-103",
        "Every setting known to be broken is reported by check as a Problem that names it.",
        "The operator sees all that is wrong at once, or the deployment does not open.",
    ),
    _raw(
        "DUR-101",
        "What was acknowledged is there after the store is closed and opened again.",
        "An acknowledgement before durability is a lie that shows after a restart.",
    ),
    _raw(
        "RAW-090",
        "An acknowledged object survives the loss of power.",
        "Only a write that reached the disk is durable.",
        level=Level.UNTESTED,
        reason="it needs a machine whose power can be cut, or a disk that drops unsynced writes",
    ),
    _raw(
        "RAW-091",
        "Keys and names of metadata of the greatest length that differ in one character only, "
        "wherever it is, are told apart by every call that takes one, in one scope and in several.",
        "Ids are derived or numbered: they begin alike, or end alike, and what is compared in part "
        "gives one thing for another.",
    ),
    _raw(
        "RAW-092",
        "A page answers from what is there when it is asked for: after writes and deletions since "
        "the page before, after the scope's end, and after a new beginning.",
        "What is kept of one page for the next outlives what was deleted and erased in between.",
    ),
)
