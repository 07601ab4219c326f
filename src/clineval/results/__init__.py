"""Where a result came from: command, settings, commit, versions, machine, steps, hashes, test openings."""

from clineval.files import FILE, LEDGER, hash_file, hash_folder, hash_settings
from clineval.results.environment import commit, machine, versions
from clineval.results.provenance import (
    CRATE,
    SCHEMA,
    Recorder,
    Step,
    broken_link,
    describe,
    is_as_sealed,
    ledger_state,
    open_ledger,
    read_openings,
    read_provenance,
    render,
    reseal,
    scrub_command,
    seal,
    seeds_of,
)

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
