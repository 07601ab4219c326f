"""Where a result came from: command, settings, commit, versions, machine, steps, hashes, test openings."""

from clineval.provenance.hashing import hash_file, hash_folder, hash_settings
from clineval.provenance.ledger import LEDGER, broken_link, ledger_state, open_ledger, read_openings
from clineval.provenance.program_and_machine import commit, machine, versions
from clineval.provenance.record import (
    CRATE,
    FILE,
    SCHEMA,
    describe,
    is_as_sealed,
    read_provenance,
    render,
    reseal,
    scrub_command,
    seal,
    seeds_of,
)
from clineval.provenance.steps import Recorder, Step

__all__ = [
    "CRATE",
    "FILE",
    "LEDGER",
    "SCHEMA",
    "Recorder",
    "Step",
    "broken_link",
    "commit",
    "describe",
    "hash_file",
    "hash_folder",
    "hash_settings",
    "is_as_sealed",
    "ledger_state",
    "machine",
    "open_ledger",
    "read_openings",
    "read_provenance",
    "render",
    "reseal",
    "scrub_command",
    "seal",
    "seeds_of",
    "versions",
]
