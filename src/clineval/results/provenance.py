"""provenance.json with its seal, program and machine, the ledger of openings, the folder for archives."""

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from threadpoolctl import threadpool_info

from clineval import files
from clineval.errors import InputError, reason_of
from clineval.files import (
    EVALUATION,
    LEDGER,
    PREDICTIONS,
    PROVENANCE,
    REPORT,
    UNHASHED,
    hash_file,
    hash_folder,
    hash_text,
    parse_json,
    program_version,
    read_regular,
    write_whole,
)
from clineval.results.folder import PUBLISHED

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
)
ARITHMETIC_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
)
"""Variables that choose other machine instructions for the same sums, and so may change last digits."""

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "torch",
    "safetensors",
    "joblib",
    "threadpoolctl",
    "Pillow",
    "pydicom",
    "pynndescent",
    "matplotlib",
    "jinja2",
)
INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


def versions() -> dict[str, str]:
    """Versions of Python and of every installed package that touches the numbers."""
    found = {"python": platform.python_version(), "clineval": program_version()}
    return found | {name: version for name in PACKAGES if (version := _version(name))}


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """Processor, its instruction sets, cores, threads and arithmetic; neither host nor user is named."""
    model, flags = _processor()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "c_library": " ".join(platform.libc_ver()).strip() or None,
        "processor": model,
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "cores": os.cpu_count(),
        "thread_variables": _set_among(THREAD_VARIABLES),
        "arithmetic_variables": _set_among(ARITHMETIC_VARIABLES),
        "arithmetic_libraries": _arithmetic_libraries(),
    }


def commit() -> dict[str, Any] | None:
    """Git commit of the program, its day, and whether the tree was clean; None outside a checkout.

    As it was when this process first asked: what it has loaded changes no more.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    identity = _git(root, "show", "--no-patch", "--format=%H %cs", "HEAD")
    if not identity:
        return None
    status = _git(root, "status", "--porcelain", "--", "src", "requirements.lock", "pyproject.toml")
    name, day = identity.split()
    return {"hash": name, "day": day, "clean": status == ""}


def _set_among(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _arithmetic_libraries() -> list[dict[str, Any]]:
    """The libraries for linear algebra and threads that are loaded now, and how many threads each may use."""
    found = (
        {
            "library": library["internal_api"],
            "version": library["version"],
            "kernels": library.get("architecture"),
            "threads": library["num_threads"],
        }
        for library in threadpool_info()
    )
    return sorted(found, key=str)


def _processor() -> tuple[str, frozenset[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor(), frozenset()
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags") or facts.get("Features") or ""
    return facts.get("model name") or platform.processor(), frozenset(flags.split())


@cache
def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


PLATFORM = (
    "system",
    "machine",
    "c_library",
    "processor",
    "instruction_sets",
    "arithmetic_variables",
)
"""What of the platform may change the last digits of a number; threads and cores do not."""

WITHOUT_NUMBERS = frozenset({"clineval", "jinja2", "joblib", "matplotlib", "pyarrow", "safetensors"})
"""Packages that move numbers about, or draw them, and compute none."""


def environment_differences(record: Mapping[str, Any]) -> list[str]:
    """What differs, in words; empty where the same bytes are to be expected of the same program."""
    return [
        *_differences(record["platform"], machine(), PLATFORM),
        *_differences(record["versions"], versions(), _packages(record)),
    ]


def _packages(record: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys((*record["versions"], *versions()))
    return [name for name in names if name not in WITHOUT_NUMBERS]


def _differences(then: Mapping[str, Any], now: Mapping[str, Any], names: Any) -> Iterator[str]:
    for name in names:
        # A record of before a field was kept says nothing of it.
        if name in then and then[name] != now.get(name):
            yield f"{name.replace('_', ' ')} ({_words(then[name])} then, {_words(now.get(name))} now)"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={each}" for name, each in value.items()) or "none set"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def open_ledger(path: Path, *, population: str, frozen: Mapping[str, Any]) -> int:
    """Append one opening of a sealed population to the ledger; return how many there are now.

    Each line holds the SHA-256 of the line before, so that none can be dropped or altered unseen.
    ``frozen`` says what was fixed before the opening (settings, models, thresholds, their hashes).
    """
    lines = _lines(path) if path.is_file() else []
    entry = {
        "opened": files.now(),
        "population": population,
        "commit": commit(),
        "frozen": dict(frozen),
        "previous": hash_text(lines[-1]) if lines else None,
    }
    lines.append(json.dumps(entry, sort_keys=True, ensure_ascii=False))
    write_whole(path, "\n".join(lines) + "\n")
    return len(lines)


def read_openings(path: Path) -> list[dict[str, Any]]:
    """Every opening that the ledger holds, in its order; empty where there is no ledger.

    Lines that are no record are left out: ``broken_link`` is there to name them.
    """
    if not path.is_file():
        return []
    found = (_entry(line) for line in _lines(path))
    return [entry for entry in found if entry is not None]


def broken_link(path: Path) -> int | None:
    """Number of the first ledger line (from 1) that does not follow from the one before; None if whole."""
    previous = None
    for number, line in enumerate(_lines(path), start=1):
        entry = _entry(line)
        if entry is None or "previous" not in entry or entry["previous"] != previous:
            return number
        previous = hash_text(line)
    return None


def ledger_state(path: Path) -> dict[str, Any] | None:
    """How many openings the ledger holds and the hash of the whole; None where there is no ledger.

    The chain alone does not show that its last lines were cut off or altered; this, kept apart, does.
    """
    return {"openings": len(_lines(path)), "sha256": hash_file(path)} if path.is_file() else None


def _lines(path: Path) -> list[str]:
    """The lines of a ledger. Only a newline ends one: names in an entry may hold other separators."""
    return path.read_bytes().decode("utf-8", errors="replace").removesuffix("\n").split("\n")


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


CRATE = "ro-crate-metadata.json"
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
RELEASED = "2026-11-23"  # day of this version, for a program that is not run from a checkout
CONTEXT = [f"{SPECIFICATION}/context", {"sha256": "http://schema.org/sha256"}]
LICENCES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}
FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
WORDS = {
    PREDICTIONS: "The risk of every case by every model: all numbers follow from this table",
    EVALUATION: "Every statistic with its interval",
    REPORT: "The report, for reading",
    PROVENANCE: "Command, settings, versions, machine, steps with their times, and a hash of each file",
    LEDGER: "Every opening of the test set, chained by hash",
}


def write_crate(folder: Path, record: Mapping[str, Any], *, hashes: Mapping[str, str]) -> None:
    """Describe the files of a folder as an RO-Crate 1.1, with no time of the run in it.

    The day that the standard asks for is that of the program's commit, so that two runs of one program
    on the same data and settings write the same bytes.
    """
    described = {name: digest for name, digest in sorted(hashes.items()) if name != CRATE}
    graph = list(_entities(folder, record, described))
    text = json.dumps({"@context": CONTEXT, "@graph": graph}, indent=1, ensure_ascii=False)
    write_whole(folder / CRATE, text + "\n")


def _entities(folder: Path, record: Mapping[str, Any], hashes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    files = [*_files(folder, hashes)]
    software = [*_software(record)]
    data, licence = _data(record["data"]), _licence(record["data"])
    yield {
        "@id": CRATE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": SPECIFICATION},
        "about": {"@id": "./"},
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results of clineval {record['kind']}: {data['name']}",
        "description": _description(record),
        "datePublished": (record.get("commit") or {}).get("day") or RELEASED,
        "license": {"@id": licence["@id"]},
        "hasPart": [_link(file) for file in files],
        "mentions": {"@id": "#run"},
    }
    yield {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"clineval {record['kind']}",
        "description": f"Settings, machine and steps are in {PROVENANCE}",
        "instrument": {"@id": "#clineval"},
        "object": _link(data),
        "result": {"@id": "./"},
    }
    yield from (*software, data, licence, *files)


def _description(record: Mapping[str, Any]) -> str:
    notice = str(record["data"].get("notice") or "")
    first = f"Written by {record['program']}; clineval verify checks it against {PROVENANCE}."
    return f"{notice}. {first}" if notice else first


def _files(folder: Path, hashes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, digest in hashes.items():
        if (folder / name).is_file():
            size = (folder / name).stat().st_size
            yield {**_file(name), "contentSize": str(size), "sha256": digest}
    # These two hold times, so neither their size nor their hash may stand here.
    yield from (_file(name) for name in UNHASHED if name == PROVENANCE or (folder / name).is_file())


def _file(name: str) -> dict[str, Any]:
    kind = FORMATS.get(Path(name).suffix, "application/octet-stream")
    said = {"description": WORDS[name]} if name in WORDS else {}
    return {"@id": quote(name), "@type": "File", "name": name, **said, "encodingFormat": kind}


def _software(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    others = {name: value for name, value in record["versions"].items() if name != "clineval"}
    commit = (record.get("commit") or {}).get("hash")
    yield {
        "@id": "#clineval",
        "@type": "SoftwareApplication",
        "name": "clineval",
        "softwareVersion": program_version(),
        **({"identifier": commit} if commit else {}),
        "softwareRequirements": [{"@id": f"#{name}"} for name in others],
    }
    for name, version in others.items():
        yield {
            "@id": f"#{name}",
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": version,
        }


def _data(source: Mapping[str, Any]) -> dict[str, Any]:
    said = {"sha256": source.get("sha256"), "citation": source.get("citation"), "url": source.get("url")}
    return {
        "@id": "#data",
        "@type": "Dataset",
        "name": str(source.get("title") or source.get("dataset") or "data"),
        **{name: value for name, value in said.items() if value},
    }


def _licence(source: Mapping[str, Any]) -> dict[str, Any]:
    name = str(source.get("licence") or "not stated")
    return {
        "@id": LICENCES.get(name, "#licence"),
        "@type": "CreativeWork",
        "name": name,
        "description": "Licence of the data that these results, and the images shown in them, come from",
    }


def _link(entity: Mapping[str, Any]) -> dict[str, str]:
    return {"@id": entity["@id"]}


PROCESSES = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Step:
    """One step of a run: wall and CPU time in seconds, workers included, and peak memory in MB so far.

    ``peak_memory_mb`` is that of the largest single process.
    """

    name: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float


@dataclass
class Recorder:
    """Collects the steps of one run as they end; ``training`` is CPU seconds per model, workers included.

    ``seed_differences`` are, by model of the user's, the largest difference of a risk between two trainings
    of its first fold with one seed.
    """

    started: str = field(default_factory=lambda: files.now())
    steps: list[Step] = field(default_factory=list)
    training: dict[str, float] = field(default_factory=dict)
    seed_differences: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block under ``name``."""
        wall, cpu = time.perf_counter(), _cpu_seconds(_children())
        yield
        children = _children()
        self.steps.append(
            Step(
                name,
                round(time.perf_counter() - wall, 3),
                round(max(0.0, _cpu_seconds(children) - cpu), 3),
                round(_peak_memory_mb(children), 1),
            )
        )


def _cpu_seconds(children: Mapping[str, list[str]]) -> float:
    """Seconds of this process, of its children that have ended, and of those that still live."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # proc(5): user and system time of the process and of its own ended children are fields 14 to 17.
    living = sum(int(ticks) for fields in children.values() for ticks in fields[11:15]) / TICKS
    return sum(each.ru_utime + each.ru_stime for each in usage) + living


def _peak_memory_mb(children: Iterable[str]) -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    ended = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(*(size * unit for size in ended), *(_peak_of(each) for each in children), 0) / 1e6


def _children() -> dict[str, list[str]]:
    """The living children of this process, and their fields from the state on, where the system lists them.

    Workers wait between steps.
    """
    own = str(os.getpid())
    names = filter(str.isdigit, os.listdir(PROCESSES)) if PROCESSES.is_dir() else ()
    return {name: fields for name in names if (fields := _fields(name))[1:2] == [own]}


def _fields(process: str) -> list[str]:
    """The fields of a process from its state on; empty where it has just ended."""
    try:
        with open(f"{PROCESSES}/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _peak_of(process: str) -> int:
    try:
        text = (PROCESSES / process / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else 0


SCHEMA = 1
SEAL = "seal"
KINDS = {"kind": str, "command": list, "settings": dict, "versions": dict, "platform": dict, "data": dict}
"""What the fields of a provenance hold."""


def describe(
    *,
    kind: str,
    command: Iterable[str],
    settings: Mapping[str, Any],
    source: Mapping[str, Any],
    recorder: Recorder,
) -> dict[str, Any]:
    """All that is known before the artefacts are hashed; paths in ``command`` become file names."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "program": f"clineval {program_version()}",
        "command": scrub_command(command),
        "settings": dict(settings),
        "seeds": seeds_of(settings),
        "commit": commit(),
        "versions": versions(),
        "platform": machine(),
        "data": dict(source),
        "started": recorder.started,
        "steps": [asdict(step) for step in recorder.steps],
        "training_cpu_seconds": dict(recorder.training),
        **({"seed_differences": recorder.seed_differences} if recorder.seed_differences else {}),
    }


def seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the crate and ``provenance.json`` with the SHA-256 of every artefact, the ledger and itself."""
    write_crate(folder, record, hashes=hash_folder(folder))
    hashed = {"ledger": ledger_state(folder / LEDGER), "artefacts": hash_folder(folder)}
    write_whole(folder / PROVENANCE, render({**record, **hashed}))


def reseal(folder: Path, record: Mapping[str, Any], *, names: Iterable[str]) -> None:
    """Rewrite the crate and the seal for the named files, and leave every other hash as it was.

    What was changed by another hand since the run thus stays visible, in the provenance itself too.
    """
    write = render if is_as_sealed(folder / PROVENANCE, record) else _text
    written = [name for name in names if (folder / name).is_file()]
    hashes = {**record["artefacts"], **{name: hash_file(folder / name) for name in written}}
    write_crate(folder, record, hashes=hashes)
    hashes[CRATE] = hash_file(folder / CRATE)
    sealed = {**record, "artefacts": dict(sorted(hashes.items()))}
    write_whole(folder / PROVENANCE, write(sealed))


def publish(folder: Path) -> None:
    """Mark a folder as a published record, which no command replaces unless forced; its seal stays valid."""
    record = read_provenance(folder / PROVENANCE)
    write_whole(folder / PROVENANCE, render({**record, PUBLISHED: True}))


def render(record: Mapping[str, Any]) -> str:
    """The text of ``provenance.json``, its own hash last: a byte changed later no longer fits it."""
    bare = {name: value for name, value in record.items() if name != SEAL}
    return _text({**bare, SEAL: hash_text(_text(bare))})


def is_as_sealed(path: Path, record: Mapping[str, Any]) -> bool:
    """Whether the file is, to the last byte, what ``render`` wrote for the record read from it."""
    return read_regular(path) == render(record).encode("utf-8", errors="replace")


def read_provenance(path: Path) -> dict[str, Any]:
    """A folder's provenance, checked to be of this schema and to list a SHA-256 of each artefact.

    Raises
    ------
    InputError : it is not JSON, of another schema, or without hashes.
    """
    try:
        record = parse_json(read_regular(path))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as JSON ({reason_of(error)}); write the results again."
        ) from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise InputError(
            f"{path} is not of schema {SCHEMA}, which this version of clineval reads; "
            "verify with the version that wrote it, or write the results again."
        )
    hashes = record.get("artefacts")
    if not isinstance(hashes, dict) or not all(_is_sha256(value) for value in hashes.values()):
        raise InputError(f"{path} lists no SHA-256 of each artefact; write the results again.")
    wrong = [name for name, kind in KINDS.items() if not isinstance(record.get(name), kind)]
    if wrong:
        raise InputError(f"{path} lacks {', '.join(wrong)}, or holds something else there; write it again.")
    return record


def altered(folder: Path, hashes: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Which of the named files are not, to the last byte, those of the hashes; missing ones among them.

    Parameters
    ----------
    hashes : SHA-256 by name, as under ``artefacts`` of the folder's provenance.
    """
    for name in names:
        path = folder / name
        if not path.is_file() or hash_file(path) != hashes.get(name):
            yield name


def scrub_command(words: Iterable[str]) -> list[str]:
    """The command's words with every path cut to its last part: no folder of a user reaches the results."""
    return [_scrub(word) for word in words]


def seeds_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every seed among nested settings, by its path such as ``training.seed``."""
    return dict(_seeds(settings, ""))


def _seeds(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _seeds(value, f"{prefix}{name}.")
        elif name in ("seed", "seeds") and value is not None:
            yield f"{prefix}{name}", value


def _scrub(word: str) -> str:
    # A name that is no text, as file names may be, is kept as far as it is one.
    word = word.encode("utf-8", errors="replace").decode("utf-8")
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (Path(value).name or value if os.sep in value else value)


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
