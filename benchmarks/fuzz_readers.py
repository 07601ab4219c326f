"""Claim: no broken file makes a reader do anything but read or refuse.

    python benchmarks/fuzz_readers.py [INPUTS] [SEED] [READER...]    (100000, 0 and all by default; make fuzz)

Each reader of an untrusted file is given INPUTS broken files, made from whole ones by
benchmarks/mutations.py. A refusal is right, and so is a file that can be read after all; wrong are any
other exception, more than five seconds of the processor, more than two gigabytes, and a crash: each is
printed with the number of its input, by which the same input can be made again. Exit 1 where one is
found. The committed record is benchmarks/fuzz.log.
"""

import io
import json
import multiprocessing
import os
import platform
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mutations import mutated
from PIL import Image

from clineval.data.preparation import Unusable
from clineval.errors import InputError

MOST_SECONDS = 5  # of the processor, so that a busy machine makes no false alarm
MOST_WAITING = 60  # seconds in all, for a reader that sleeps
MOST_BYTES = 2 * 1024**3
REFUSALS = (InputError, Unusable)


@dataclass(frozen=True)
class Reader:
    """What is fuzzed: whole files to start from, the name that the broken one gets, and what reads it."""

    seeds: list[bytes]
    kind: str
    file: str
    read: Callable[[Path], object]


class TooSlow(BaseException):
    """An input took longer than it may."""


def _pictures() -> list[bytes]:
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8))
    kinds = {
        "PNG": [{}, {"optimize": True}], "JPEG": [{}, {"progressive": True}], "BMP": [{}], "GIF": [{}],
        "WEBP": [{}], "JPEG2000": [{}],
        "TIFF": [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}],
    }  # fmt: skip
    deep = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
    found = []
    for kind, ways in kinds.items():
        for way in ways:
            for image in (grey, grey.convert("RGB")):
                stream = io.BytesIO()
                image.save(stream, kind, **way)
                found.append(stream.getvalue())
    for kind in ("PNG", "TIFF"):
        stream = io.BytesIO()
        deep.save(stream, kind)
        found.append(stream.getvalue())
    return found


def _dicom_files() -> list[bytes]:
    import pydicom
    from pydicom.uid import (
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        RLELossless,
    )

    found = []
    for bits, photometric, tags, syntax in (
        (8, "MONOCHROME2", {}, ExplicitVRLittleEndian),
        (12, "MONOCHROME2", {"HighBit": 15, "WindowCenter": None}, DeflatedExplicitVRLittleEndian),
        (8, "MONOCHROME1", {"PixelPaddingValue": 3}, ImplicitVRLittleEndian),
        (12, "MONOCHROME2", {"WindowCenter": 500, "WindowWidth": 900}, ExplicitVRLittleEndian),
        (16, "MONOCHROME2", {"RescaleSlope": "2", "RescaleIntercept": "-9"}, ExplicitVRLittleEndian),
        (8, "MONOCHROME2", {"PatientName": "A^B", "BurnedInAnnotation": "YES"}, RLELossless),
        (8, "RGB", {"PlanarConfiguration": 0}, ExplicitVRLittleEndian),
    ):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if syntax == ImplicitVRLittleEndian else (ExplicitVRLittleEndian)
        )
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        dataset.Rows, dataset.Columns = 12, 16
        dataset.SamplesPerPixel = 3 if photometric == "RGB" else 1
        dataset.PhotometricInterpretation = photometric
        held = 8 if bits == 8 else 16
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = held, bits, bits - 1
        dataset.PixelRepresentation = 0
        values = np.repeat(np.arange(12 * 16) * 333 % 2**bits, dataset.SamplesPerPixel)
        values <<= tags.get("HighBit", bits - 1) + 1 - bits
        dataset.PixelData = values.astype(f"<u{held // 8}").tobytes()
        for name, value in tags.items():
            setattr(dataset, name, value)
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        found.append(stream.getvalue())
    return found


def _table() -> pd.DataFrame:
    chance = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "model": ["a", "b"] * 6,
            "split": "test",
            "case": np.repeat([f"c{k}" for k in range(6)], 2),
            "group": np.repeat(list("xxyyzz"), 2),
            "outcome": np.repeat([0, 1, 0, 1, 1, 0], 2),
            "risk": chance.uniform(size=12),
            "site": ["=north", "süd", None] * 4,
            "age": range(12),
        }
    )


def _tables() -> list[bytes]:
    table = _table()
    quoted = table.to_csv(index=False, quoting=1, lineterminator="\r\n").encode("utf-8-sig")
    return [table.to_csv(index=False).encode(), table.to_csv(index=False, sep=";").encode(), quoted]


def _own_tables() -> list[bytes]:
    table = _table().drop_duplicates("case").assign(split=["train", "train", "val", "val", "test", "test"])
    return [table.to_csv(index=False).encode(), table.to_csv(index=False, sep="\t").encode("utf-8-sig")]


def _parquets() -> list[bytes]:
    found = []
    for compression in ("snappy", "none", "gzip", "zstd"):
        stream = io.BytesIO()
        frame = _table().astype({"model": "category"})
        frame.to_parquet(stream, index=False, compression=None if compression == "none" else compression)
        found.append(stream.getvalue())
    return found


def _own_table(path: Path) -> object:
    from clineval.tables.own_table import Columns, read_own_table

    return read_own_table(path, Columns("case", "outcome", "1", "group", "split"))


def _small_set() -> tuple[bytes, Any]:
    """A set of eleven images in the form of the official file, and what would be known of it."""
    from clineval.data.medmnist_files import SETS

    cases = {"train": 6, "val": 2, "test": 3}
    stream = io.BytesIO()
    arrays = {}
    for split, count in cases.items():
        arrays[f"{split}_images"] = np.full((count, 28, 28), 7, np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    np.savez_compressed(stream, **arrays)
    events = {split: (count + 1) // 2 for split, count in cases.items()}
    digest = {28: sha256(stream.getvalue()).hexdigest()}
    return stream.getvalue(), replace(SETS["breastmnist"], cases=cases, events=events, sha256=digest)


def _npz() -> Reader:
    from clineval.data import medmnist, medmnist_files

    content, facts = _small_set()
    medmnist_files.SETS["breastmnist"] = facts  # type: ignore[index]
    return Reader([content], "npz", "breastmnist.npz", lambda path: medmnist.read(path))


def _result_file() -> Reader:
    """MedMNIST's own result file, of a set of three test cases."""
    from clineval.pipeline import evaluate

    reader = _npz()
    folder = Path(tempfile.mkdtemp())
    (folder / reader.file).write_bytes(reader.seeds[0])
    os.environ["CLINEVAL_DATA"] = str(folder)
    seeds = [b"0,0.25,0.75\n1,0.5,0.5\n2,1,0\n", b"index,score_0\n0,.1\n1,.2\n2,.3\n"]
    name = "breastmnist_test_[AUC]0.901_[ACC]0.863@run1.csv"
    return Reader(seeds, "csv", name, lambda path: evaluate.read_result_file(path, "breastmnist"))


def _results(folder: Path) -> Path:
    """A folder of results, by ``clineval evaluate`` on a small table."""
    from clineval.cli import main

    _table().to_csv(folder / "t.csv", index=False)
    words = ["evaluate", str(folder / "t.csv"), "--draws", "20", "--out", str(folder / "r"), "--quiet"]
    if main.run_command(words):
        raise SystemExit("no results could be made to fuzz")
    return folder / "r"


def _evaluation() -> Reader:
    from clineval.evaluation import read_evaluation

    with tempfile.TemporaryDirectory() as name:
        record = json.loads((_results(Path(name)) / "evaluation.json").read_bytes())
    for populations in record["models"].values():  # the long lines of numbers only make fuzzing slow
        for scores in populations.values():
            scores["decision_curve"] = {key: line[:3] for key, line in scores["decision_curve"].items()}
    return Reader([json.dumps(record).encode()], "json", "evaluation.json", read_evaluation)


def _provenance() -> Reader:
    from clineval.results.provenance import read_provenance

    with tempfile.TemporaryDirectory() as name:
        content = (_results(Path(name)) / "provenance.json").read_bytes()
    return Reader([content], "json", "provenance.json", read_provenance)


def _ledger() -> Reader:
    from clineval import results as provenance

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.jsonl"
        for number in range(3):
            provenance.open_ledger(path, population="test", frozen={"settings_sha256": str(number)})
        content = path.read_bytes()
    return Reader([content], "jsonl", "ledger.jsonl", provenance.broken_link)


def _study() -> Reader:
    from clineval.pipeline.study import SETTINGS_FILE, claim_folder

    identity = {"images": "ab", "study": {"models": ["cnn"], "seeds": [0]}, "device": "cpu"}
    seeds = [json.dumps(identity).encode()]
    return Reader(seeds, "json", SETTINGS_FILE, lambda path: claim_folder(path.parent, identity))


def _folder_of_models() -> Path:
    """Small stored models, each with arrays of the right shapes."""
    from clineval.models import network, scattering
    from clineval.models.classifier import KINDS
    from clineval.models.stored import FORMAT, write_arrays

    folder, chance = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    member = {"scaling": {"mean": 0.3, "sd": 0.2}}
    kernels = {"gammas": [0.1, 0.2], "ends": list(scattering.ENDS)}
    records: dict[str, dict[str, Any]] = {
        "logreg": {"kind": "logreg", "strength": 1.0, "learnt_on": "train"},
        "scattering": {"kind": "scattering", "vectors": 2, **kernels},
        "cnn": {"kind": "cnn", "architecture": network.ARCHITECTURE, "members": [member]},
    }
    for name, record in records.items():
        record |= {"format": FORMAT, "model": name, "image": [28, 28]}
        shapes = KINDS[name].shapes(record, 28, 28)
        arrays = {key: chance.uniform(1, 2, size=shape).astype(np.float32) for key, shape in shapes.items()}
        write_arrays(folder / f"{name}.safetensors", arrays, {"format": 1, "model": name})
        (folder / f"{name}.json").write_text(json.dumps(record))
    return folder


def _model_record() -> Reader:
    from clineval.models.classifier import read_model

    folder = _folder_of_models()
    seeds = [(folder / f"{name}.json").read_bytes() for name in ("logreg", "scattering", "cnn")]
    arrays = {name: (folder / f"{name}.safetensors").read_bytes() for name in ("logreg", "scattering", "cnn")}

    def read(path: Path) -> object:
        kind = next((name for name in arrays if name.encode() in path.read_bytes()), "logreg")
        beside = path.with_suffix(".safetensors")
        if not beside.is_file() or beside.read_bytes() != arrays[kind]:
            beside.write_bytes(arrays[kind])
        return read_model(path.parent, "model")

    return Reader(seeds, "json", "model.json", read)


def _weights() -> Reader:
    from clineval.models.classifier import read_model

    folder = _folder_of_models()
    seed = (folder / "logreg.safetensors").read_bytes()
    record = (folder / "logreg.json").read_bytes()

    def read(path: Path) -> object:
        beside = path.with_suffix(".json")
        if not beside.is_file():
            beside.write_bytes(record)
        return read_model(path.parent, "model")

    return Reader([seed], "safetensors", "model.safetensors", read)


def _reference() -> Reader:
    from clineval.models.stored import write_arrays
    from clineval.pipeline.stored_run import FEATURES, FILE, FORMAT, LEVELS, WAVES, read_reference

    small = {"grey": LEVELS, "centre": FEATURES, "scale": FEATURES, "variance": 1}
    arrays = {name: np.ones(size, np.float32) for name, size in small.items()}
    arrays |= {"axes": np.ones((1, FEATURES), np.float32), "layout": np.ones((2, WAVES), np.float32)}
    record = {"format": FORMAT, "noise": 1.0, "texture_limit": 2.0, "grey_limit": None}
    record |= {"near_duplicate_limit": 0.9, "case": ["train/0", "train/1"], "digest": ["ab", "cd"]}
    with tempfile.TemporaryDirectory() as name:
        write_arrays(Path(name) / FILE, arrays, record)
        seed = (Path(name) / FILE).read_bytes()
    return Reader([seed], "safetensors", FILE, lambda path: read_reference(path.parent))


def _predictions(seeds: list[bytes], file: str) -> Reader:
    from clineval.predictions import read_predictions

    return Reader(seeds, "csv" if file.endswith("csv") else "parquet", file, read_predictions)


def _image(seeds: list[bytes], file: str) -> Reader:
    from clineval.data.image_files import read_image

    return Reader(seeds, "image", file, read_image)


READERS: dict[str, Callable[[], Reader]] = {
    "npz": _npz,
    "predictions-csv": lambda: _predictions(_tables(), "mine.csv"),
    "predictions-parquet": lambda: _predictions(_parquets(), "mine.parquet"),
    "own-table": lambda: Reader(_own_tables(), "csv", "own.csv", _own_table),
    "medmnist-results": _result_file,
    "evaluation": _evaluation,
    "provenance": _provenance,
    "ledger": _ledger,
    "study": _study,
    "model-record": _model_record,
    "weights": _weights,
    "reference": _reference,
    "image": lambda: _image(_pictures(), "picture"),
    "dicom": lambda: _image(_dicom_files(), "picture.dcm"),
}


def outcome_of(reader: Reader, path: Path) -> str:
    """What became of one input: ``read``, ``refused``, or what went wrong."""
    try:
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, MOST_WAITING)
        reader.read(path)
        return "read"
    except REFUSALS:
        return "refused"
    except TooSlow:
        return f"WRONG: over {MOST_SECONDS} s"
    except BaseException as error:
        return f"WRONG: {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _stop(*_: object) -> None:
    raise TooSlow


def _work(name: str, numbers: range, seed: int, last: Any, results: Any) -> None:
    """Fuzz one reader in a process of its own; ``last`` holds the number of the input at work."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _stop)
    signal.signal(signal.SIGPROF, _stop)
    reader = READERS[name]()
    soft = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counts: Counter[str] = Counter()
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        path = Path(folder) / reader.file
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, resource.RLIM_INFINITY))
        for number in numbers:
            last.value = number
            chance = random.Random(f"{seed}/{name}/{number}")
            path.write_bytes(mutated(chance, reader.seeds, reader.kind))
            found = outcome_of(reader, path)
            if found.startswith("WRONG"):
                counts["WRONG"] += 1
                if counts["WRONG"] <= 20:
                    print(f"  {name}, input {number}: {found}", flush=True)
            else:
                counts[found] += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - soft
    results.put((dict(counts), grown))


def fuzz(name: str, inputs: int, seed: int) -> bool:
    """Give one reader its inputs, in as many processes as crash and one; True where nothing went wrong."""
    began, start, crashes = time.process_time(), 0, 0
    counts: Counter[str] = Counter()
    context = multiprocessing.get_context("fork")
    grown, used = 0, 0.0
    while start < inputs:
        last, results = context.Value("q", start), context.SimpleQueue()
        process = context.Process(target=_work, args=(name, range(start, inputs), seed, last, results))
        process.start()
        process.join()
        if process.exitcode == 0:
            found, grown = results.get()
            counts.update(found)
            break
        crashes += 1
        print(f"  {name}, input {last.value}: CRASHED with {process.exitcode}", flush=True)
        start = last.value + 1
        if crashes > 5:
            break
    used = time.process_time() - began + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(
        f"{name:20} {inputs:7,} inputs: {counts['read']:6,} read, {counts['refused']:6,} refused, "
        f"{counts['WRONG'] + crashes} wrong; {grown / 1e6:.0f} MB grown; {used:.0f} CPU s so far",
        flush=True,
    )
    return not counts["WRONG"] and not crashes and grown < MOST_BYTES


if __name__ == "__main__":
    inputs, seed = (int(word) for word in (sys.argv[1:3] + ["100000", "0"][len(sys.argv[1:3]) :]))
    chosen = sys.argv[3:] or list(READERS)
    print(f"{inputs:,} inputs per reader, seed {seed}, Python {platform.python_version()}")
    whole = [fuzz(name, inputs, seed) for name in chosen]
    sys.exit(not all(whole))
