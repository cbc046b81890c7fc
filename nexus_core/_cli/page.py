"""The page that ``nexus --help`` shows. Written by hand, because it is read before anything else.

``COMMANDS`` is the one list of commands; a test holds the page to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

COMMANDS: Final[Mapping[str, str]] = {
    "quickstart": "nexus_core._cli.quickstart",
    "init": "nexus_core._cli.init",
    "doctor": "nexus_core._cli.doctor",
    "config": "nexus_core._cli.config",
    "plugins": "nexus_core._cli.plugins",
    "ingest": "nexus_core._cli.ingest",
    "retrieve": "nexus_core._cli.retrieve",
    "atoms": "nexus_core._cli.atoms",
    "lineage": "nexus_core._cli.lineage",
    "index": "nexus_core._cli.index",
    "recover": "nexus_core._cli.recover",
    "hold": "nexus_core._cli.hold",
    "erase": "nexus_core._cli.erase",
    "events": "nexus_core._cli.events",
    "audit": "nexus_core._cli.audit",
}

HELP: Final = """\
Nexus keeps other people's knowledge apart: files in, atoms and vectors made from
them, found again, with lineage and an audit trail, for many tenants at once.

Usage: nexus COMMAND [OPTIONS]
       nexus COMMAND --help       says everything about one command

Begin
  quickstart [PATH]     see it work: two tenants, your files, no server, one folder
  init [DIR]            write nexus.toml and a root key, and create the stores
  doctor                look for anything wrong, then prove that tenants are apart

Configure
  config check          say everything that is wrong with the configuration
  config show           print what is in force, without secrets
  config schema         print the JSON Schema of nexus.toml
  plugins list          what is installed, without importing any of it
  plugins check NAME    load one plugin and say everything that is wrong with it

Work in a tenant's scope
  ingest PATH...        take files and folders from bytes to atoms to vectors
  retrieve TEXT         the nearest atoms, with exact distances and where they are
  atoms export|count    atoms with their text as JSON lines; how many there are
  lineage ID            where an asset or atom came from, and what came of it
  index list            the scope's indexes and the proposals for new ones
  index define|approve|apply
                        a new index takes two people: one proposes, another approves
  recover               finish or undo what a killed process left half done
  hold set|lift|extend  what nobody deletes: legal holds, retention periods
  erase subject|scope   forget a user, or all of a scope, for good

Tell others
  events list           what happened to the data of the scope
  events relay          carry it to files and endpoints, at least once and in order

Audit
  audit tail            the latest records
  audit verify          prove that no record was changed, removed or reordered
  audit checkpoint      print the signed end of the trail, to be kept elsewhere
  audit prove           prove that a record is in the trail, or that it only grew
  audit export          write the trail as JSON lines, OCSF or a verifiable bundle

Who and where
  Work and audit need to know who acts, and in which tenant and environment:

    --tenant acme --env dev --actor ana@acme --actor-kind human --role owner

  or NEXUS_TENANT, NEXUS_ENV, NEXUS_ACTOR, NEXUS_ACTOR_KIND and NEXUS_ROLE.
  None of them has a default; what is missing is named.

Every command takes
  --config FILE         the configuration (NEXUS_CONFIG, or nexus.toml right here)
  --json                one JSON document, or JSON lines, on standard output
  --debug               the traceback of an error, too

Examples
  nexus quickstart ~/Documents/notes
  nexus init . && nexus doctor
  nexus ingest handbook/ --kind data --space handbook
  nexus retrieve "who approves travel?" -k 5 --text
  nexus audit verify --checkpoint acme.checkpoint

Exit codes
  0  done, and nothing was found     2  the command line cannot be understood
  1  something is wrong: it says what  3  a fault of Nexus itself
"""
