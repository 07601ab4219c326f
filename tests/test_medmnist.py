"""Reading, refusing and fetching the official files."""

import errno
import gzip
import hashlib
import io
import os
import socket
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from clineval.data import download, medmnist
from clineval.data.cohort import Cohort
from clineval.data.download import ATTEMPTS
from clineval.data.medmnist_files import Unavailable
from clineval.data.preparation import grey_of_colour
from clineval.errors import InputError
from clineval.pipeline.run import fetch_file

FACTS = medmnist.SETS["breastmnist"]


def contents(**changes: np.ndarray | None) -> bytes:
    """An npz with the keys, shapes and label counts of the official file, but for ``changes``."""
    arrays: dict[str, np.ndarray | None] = {}
    for split, cases in FACTS.cases.items():
        arrays[f"{split}_images"] = np.full((cases, 28, 28), 7, np.uint8)
        labels = (np.arange(cases) >= FACTS.events[split]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels[:, None]
    arrays |= changes
    stream = io.BytesIO()
    np.savez_compressed(stream, **{key: value for key, value in arrays.items() if value is not None})
    return stream.getvalue()


@pytest.fixture(scope="module")
def right() -> bytes:
    return contents()


@pytest.fixture
def official(right: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Bytes that count as the official file, so that no test needs the real one."""
    known = {**FACTS.sha256, 28: hashlib.sha256(right).hexdigest()}
    monkeypatch.setitem(medmnist.SETS, "breastmnist", replace(FACTS, sha256=known))
    return right


def put(folder: Path, content: bytes, name: str = "breastmnist.npz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


# Reading ----------------------------------------------------------------------------------------------


def test_a_right_file_becomes_a_cohort(tmp_path: Path, official: bytes) -> None:
    put(tmp_path, official)
    cohort = medmnist.load(folders=[tmp_path])
    assert cohort.images.shape == (780, 28, 28)
    assert [int(cohort.within(split).sum()) for split in ("train", "val", "test")] == [546, 78, 156]
    assert cohort.case[[0, 545, 546, 624, 779]].tolist() == [
        "train/0",
        "train/545",
        "val/0",
        "test/0",
        "test/155",
    ]
    assert (cohort.group == cohort.case).all()
    assert cohort.source.file == "breastmnist.npz"
    assert cohort.source.sha256 == hashlib.sha256(official).hexdigest()


def test_malignant_is_label_0_and_is_the_outcome(tmp_path: Path, official: bytes) -> None:
    put(tmp_path, official)
    cohort = medmnist.load(folders=[tmp_path])
    assert cohort.condition == "malignant"
    assert cohort.outcome[:147].all()  # the first 147 training labels of the stand-in are 0
    assert not cohort.outcome[147:546].any()
    codes = {meaning.code: meaning.is_condition for meaning in cohort.source.labels}
    assert codes == {0: True, 1: False}


def test_the_first_folder_that_has_the_file_wins(tmp_path: Path, official: bytes) -> None:
    put(tmp_path / "second", official)
    assert medmnist.find("breastmnist", folders=[tmp_path / "first", tmp_path / "second"]) == (
        tmp_path / "second" / "breastmnist.npz"
    )
    put(tmp_path / "first", b"wrong")
    with pytest.raises(InputError, match=r"first/breastmnist\.npz is not the official"):
        medmnist.load(folders=[tmp_path / "first", tmp_path / "second"])


def test_no_folder_with_the_file_names_the_folders_and_the_remedies(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"in none of: .*CLINEVAL_DATA.*dataset=.phantom"):
        medmnist.load(folders=[tmp_path])


def test_the_source_names_a_file_below_the_variable(
    tmp_path: Path, official: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, official)
    monkeypatch.setenv("CLINEVAL_DATA", f"{tmp_path}/")
    assert medmnist.load().source.file == "$CLINEVAL_DATA/breastmnist.npz"


def test_folders_are_searched_in_the_documented_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINEVAL_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert medmnist.search_folders() == (
        tmp_path,
        Path("data"),
        tmp_path / "home" / ".medmnist",
        medmnist.cache_folder(),
    )
    monkeypatch.delenv("CLINEVAL_DATA")
    assert medmnist.search_folders()[0] == Path("data")


def test_a_variable_that_names_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINEVAL_DATA", str(put(tmp_path, b"")))
    with pytest.raises(InputError, match="CLINEVAL_DATA needs to name a folder"):
        medmnist.search_folders()


def test_unknown_names_and_sizes_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"dataset needs .*breastmnist.*; got 'brainmnist'"):
        medmnist.load("brainmnist")
    with pytest.raises(InputError, match=r"size needs one of 28, 64, 128, 224 .*got 32"):
        medmnist.load(size=32)


# What is wrong with a file ----------------------------------------------------------------------------


def small(split: str, count: int) -> np.ndarray:
    return np.zeros((count, 28, 28), np.uint8)


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "truncated or corrupt, 0 bytes"),
    "a web page": (lambda: b"<!DOCTYPE html><html>Sign in</html>", "truncated or corrupt"),
    "truncated": (lambda: contents()[:-200], "truncated or corrupt"),
    "one byte flipped": (lambda: _flipped(contents()), "truncated or corrupt|SHA-256"),
    "another checksum": (lambda: contents(train_images=np.zeros((546, 28, 28), np.uint8)), "SHA-256 is"),
    "a missing key": (lambda: contents(test_labels=None), "lacks test_labels"),
    "too few cases": (
        lambda: contents(test_images=small("test", 155)),
        r"test_images needs .*\(156, 28, 28\)",
    ),
    "another size": (lambda: contents(val_images=np.zeros((78, 64, 64), np.uint8)), r"val_images needs"),
    "colour": (lambda: contents(val_images=np.zeros((78, 28, 28, 3), np.uint8)), r"is uint8 of shape \(78"),
    "floats": (lambda: contents(val_images=np.zeros((78, 28, 28), np.float32)), "is float32"),
    "objects": (
        lambda: contents(val_labels=np.array([[print]] * 78, object)),
        "val_labels needs .*is object",
    ),
    "flat labels": (lambda: contents(val_labels=np.zeros(78, np.uint8)), r"val_labels needs .*\(78, 1\)"),
    "a third label": (lambda: contents(val_labels=np.full((78, 1), 2, np.uint8)), r"val_labels holds \[2\]"),
    "labels reversed": (lambda: contents(val_labels=_reversed_labels(78, 21)), "57 malignant cases, not 21"),
    "an encrypted member": (lambda: _encrypted(contents()), "truncated or corrupt"),
    "a later npy version": (
        lambda: _with_member("val_labels.npy", b"\x93NUMPY\x03\x00"),
        "header cannot be read",
    ),
    "an endless header": (
        lambda: _with_member("val_labels.npy", b"\x93NUMPY\x01\x00\xff\xff{"),
        "header cannot be read",
    ),
    "a nested header": (lambda: _with_member("val_labels.npy", _nested_header()), "header cannot be read"),
    "a huge claim": (lambda: _with_member("val_labels.npy", _header((10**15, 1))), "val_labels needs"),
    "a bomb": (lambda: _with_member("val_labels.npy", _header((78, 1)) + bytes(10**7)), "unpacks to more"),
}


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def _reversed_labels(cases: int, events: int) -> np.ndarray:
    return (np.arange(cases) < events).astype(np.uint8)[:, None]


def _encrypted(content: bytes) -> bytes:
    """The flag of encryption set in every local and central header."""
    marked = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = marked.find(signature)
        while start >= 0:
            marked[start + offset] |= 1
            start = marked.find(signature, start + 4)
    return bytes(marked)


def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _nested_header() -> bytes:
    """A header deep enough to exhaust a recursive parser."""
    return b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"[" * 8999 + b"\n"


def _with_member(name: str, member: bytes) -> bytes:
    """A right file in which one member is replaced by raw bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(contents())) as whole, zipfile.ZipFile(stream, "w", 8) as changed:
        for key in whole.namelist():
            changed.writestr(key, member if key == name else whole.read(key))
    return stream.getvalue()


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_refused_by_name_with_what_is_wrong(tmp_path: Path, fault: str) -> None:
    make, words = WRONG[fault]
    path = put(tmp_path, make())
    with pytest.raises(InputError, match=words) as refused:
        medmnist.load(folders=[tmp_path])
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not isinstance(refused.value, Unavailable)


def test_a_file_larger_than_any_official_one_is_refused_unread(tmp_path: Path) -> None:
    path = put(tmp_path, b"")
    os.truncate(path, 10**12)  # a terabyte that takes no room on the disk
    with pytest.raises(InputError, match="has more than"):
        medmnist.load(folders=[tmp_path])


@pytest.mark.real_data
def test_the_file_of_another_size_under_this_name_is_refused(tmp_path: Path, real_data_folder: Path) -> None:
    if not (real_data_folder / "breastmnist_64.npz").is_file():
        pytest.skip("no breastmnist_64.npz beside the 28-pixel file")
    put(tmp_path, (real_data_folder / "breastmnist_64.npz").read_bytes())
    with pytest.raises(InputError, match="the most that 28 x 28 pixels take"):
        medmnist.load(folders=[tmp_path])


@pytest.mark.parametrize("kind", ["folder", "broken link", "pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "breastmnist.npz"
    make = {
        "folder": path.mkdir,
        "broken link": lambda: path.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(path),
    }
    make[kind]()
    with pytest.raises(InputError, match="needs to be a file"):
        medmnist.load(folders=[tmp_path])


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, b"")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        medmnist.load(folders=[tmp_path])


def test_no_damage_to_a_file_ends_in_anything_but_a_refusal(tmp_path: Path, right: bytes) -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(right)
        for position in rng.integers(0, len(right), rng.integers(1, 20)):
            damaged[position] = rng.integers(0, 256)
        cut = len(right) if rng.random() < 0.5 else int(rng.integers(0, len(right)))
        put(tmp_path, bytes(damaged[:cut]))
        with pytest.raises(InputError):
            medmnist.load(folders=[tmp_path])


# Fetching, from a server of our own on this machine -----------------------------------------------------


class Server:
    """A web server on 127.0.0.1 that gives ``answers`` in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, int]] = []  # status, body, length that the header claims
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answers = outer.answers
                status, body, claimed = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(claimed))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    yield running
    running.close()


def ok(content: bytes) -> tuple[int, bytes, int]:
    return 200, content, len(content)


def test_fetch_brings_the_file_whole_and_reports_every_byte(
    tmp_path: Path, official: bytes, server: Server
) -> None:
    server.answers = [ok(official)]
    seen: list[tuple[int, int]] = []
    path = fetch_file(
        size=28,
        folder=tmp_path / "new" / "folder",
        address=server.address,
        announce=lambda step: lambda *done: seen.append(done),
    )
    assert path.read_bytes() == official
    assert path.stat().st_mode & 0o777 == 0o644
    assert seen[-1] == (len(official), len(official))
    assert server.asked == ["/breastmnist.npz?download=1"]
    assert medmnist.load(folders=[path.parent]).source.sha256 == hashlib.sha256(official).hexdigest()


def test_there_is_no_phantom_to_fetch() -> None:
    with pytest.raises(InputError, match="the phantom set is drawn where it is used"):
        fetch_file("phantom")


def test_fetch_again_downloads_nothing(tmp_path: Path, official: bytes, server: Server) -> None:
    path = put(tmp_path, official)
    assert medmnist.fetch(folder=tmp_path, address=server.address) == path
    assert server.asked == []


def test_fetch_never_overwrites_a_wrong_file(tmp_path: Path, official: bytes, server: Server) -> None:
    path = put(tmp_path, b"mine")
    server.answers = [ok(official)]
    with pytest.raises(InputError, match="is not the official"):
        medmnist.fetch(folder=tmp_path, address=server.address)
    assert path.read_bytes() == b"mine"


def refused(tmp_path: Path, server: Server) -> Unavailable | InputError:
    """What fetch raises, having left nothing behind, in one line and with the three remedies."""
    folder = tmp_path / "cache"
    with pytest.raises(InputError) as caught:
        medmnist.fetch(folder=folder, address=server.address, wait=0.001)
    assert not folder.exists() or list(folder.iterdir()) == []
    words = str(caught.value)
    assert "\n" not in words
    for remedy in (f"Put the file at {folder / 'breastmnist.npz'}", "CLINEVAL_DATA", 'dataset="phantom"'):
        assert remedy in words
    return caught.value


def test_a_wrong_checksum_is_refused_and_not_tried_again(
    tmp_path: Path, official: bytes, server: Server
) -> None:
    server.answers = [ok(b"<html>sign in to the hospital's network</html>")]
    error = refused(tmp_path, server)
    assert "its SHA-256 is not" in str(error)
    assert not isinstance(error, Unavailable)
    assert len(server.asked) == 1


def test_a_transfer_that_breaks_off_is_tried_again(tmp_path: Path, official: bytes, server: Server) -> None:
    server.answers = [(200, official[:1000], len(official)), ok(official)]
    path = medmnist.fetch(folder=tmp_path, address=server.address, wait=0.001)
    assert path.read_bytes() == official
    assert len(server.asked) == 2


def test_a_transfer_that_always_breaks_off_is_called_truncated(
    tmp_path: Path, official: bytes, server: Server
) -> None:
    server.answers = [(200, official[:1000], len(official))]
    error = refused(tmp_path, server)
    assert isinstance(error, Unavailable)
    assert error.cause == "the transfer from 127.0.0.1 broke off, truncated"


def test_503_and_then_the_file_is_the_file(tmp_path: Path, official: bytes, server: Server) -> None:
    server.answers = [(503, b"", 0), (429, b"", 0), ok(official)]
    assert medmnist.fetch(folder=tmp_path, address=server.address, wait=0.001).read_bytes() == official
    assert len(server.asked) == 3


def test_503_for_ever_ends_with_the_cause(tmp_path: Path, server: Server) -> None:
    server.answers = [(503, b"", 0)]
    error = refused(tmp_path, server)
    assert isinstance(error, Unavailable)
    assert error.cause == "127.0.0.1 answered 503 Service Unavailable"
    assert len(server.asked) == ATTEMPTS


def test_404_is_not_tried_again(tmp_path: Path, server: Server) -> None:
    server.answers = [(404, b"", 0)]
    assert "404 Not Found" in str(refused(tmp_path, server))
    assert len(server.asked) == 1


def test_no_connection_is_said_at_once(tmp_path: Path, server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.address = f"http://127.0.0.1:{free.getsockname()[1]}"  # bound and not listening
        error = refused(tmp_path, server)
    assert isinstance(error, Unavailable)
    assert error.cause == "no network connection to 127.0.0.1"


def test_a_connection_that_is_dropped_without_an_answer_is_tried_again(
    tmp_path: Path, server: Server
) -> None:
    met = []

    def drop(listening: socket.socket) -> None:
        for _ in range(ATTEMPTS):
            connection, _address = listening.accept()
            met.append(connection.recv(1000))
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        dropping = threading.Thread(target=drop, args=(listening,))
        dropping.start()
        assert "broke off" in str(refused(tmp_path, server))
        dropping.join(timeout=5)
    assert len(met) == ATTEMPTS


def test_no_answer_in_time_is_said(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clineval.data.download.READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server.address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no answer in time" in str(refused(tmp_path, server))


@contextmanager
def speaking(words: Sequence[bytes], *, pause: float) -> Iterator[str]:
    """The address of a server that answers each connection with some bytes at a time, and then is silent."""
    done, threads = threading.Event(), []

    def speak(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1000)
            for word in words:
                connection.sendall(word)
                done.wait(pause)
            done.wait()

    def serve(listening: socket.socket) -> None:
        while not done.is_set():
            with suppress(TimeoutError):
                threads.append(threading.Thread(target=speak, args=(listening.accept()[0],)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.02)
        serving = threading.Thread(target=serve, args=(listening,))
        serving.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        done.set()
        for thread in (serving, *threads):
            thread.join(timeout=5)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize("words", [[HEAD], [HEAD, b"some bytes"]])
@pytest.mark.slow
def test_a_server_that_falls_silent_in_the_middle_is_tried_a_bounded_number_of_times(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, words: list[bytes]
) -> None:
    monkeypatch.setattr("clineval.data.download.READ_SECONDS", 0.3)
    with speaking(words, pause=0) as server.address:
        assert "broke off" in str(refused(tmp_path, server))


def test_a_server_that_drips_is_given_up(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clineval.data.download.PATIENCE", 0.05)
    with speaking([HEAD, *[b"."] * 1000], pause=0.01) as server.address:
        assert "no answer in time" in str(refused(tmp_path, server))


def test_the_waits_for_a_silent_server_are_bounded() -> None:
    longest = ATTEMPTS * download.READ_SECONDS + sum(2.0**pause for pause in range(ATTEMPTS - 1))
    assert longest < 60
    assert download.ALL_ANSWERS_SECONDS < 60


def test_headers_that_drip_have_one_deadline(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clineval.data.download.ANSWER_SECONDS", 0.3)
    with speaking([b"HTTP/1.1 200 OK\r\n", *[b"X: 1\r\n"] * 40], pause=0.05) as server.address:
        assert "no answer in time" in str(refused(tmp_path, server))


def test_redirects_share_the_deadline(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clineval.data.download.ANSWER_SECONDS", 0.3)
    hop = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with speaking([b"", hop], pause=0.1) as server.address:
        began = time.monotonic()
        assert "in time" in str(refused(tmp_path, server))
    assert time.monotonic() - began < 3


def test_a_redirect_to_a_file_is_named(tmp_path: Path, server: Server) -> None:
    hop = b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
    with speaking([hop], pause=0) as server.address:
        error = refused(tmp_path, server)
    assert isinstance(error, Unavailable)
    assert "127.0.0.1 redirects to no web address" in error.cause
    assert "file:///etc/passwd" in error.cause


@pytest.mark.parametrize("head", [b"", b"Content-Length: 9999999999\r\n"])
def test_a_body_larger_than_the_file_can_be_is_ended(tmp_path: Path, server: Server, head: bytes) -> None:
    words = [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n", *[bytes(1 << 16)] * 64]
    with speaking(words, pause=0) as server.address:
        error = refused(tmp_path, server)
    assert not isinstance(error, Unavailable)
    assert "sends more than the" in str(error)


@pytest.mark.slow
def test_a_body_that_inflates_is_ended(tmp_path: Path, server: Server) -> None:
    bomb = gzip.compress(bytes(1 << 27))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with speaking([head + bomb], pause=0) as server.address:
        assert "sends more than the" in str(refused(tmp_path, server))


def test_every_wait_for_the_network_is_announced(tmp_path: Path, official: bytes, server: Server) -> None:
    server.answers, said = [(503, b"", 0), ok(official)], []
    medmnist.fetch(
        folder=tmp_path,
        address=server.address,
        wait=0.001,
        announce=lambda step: said.append(step) or (lambda *_: None),  # type: ignore[func-returns-value]
    )
    assert said[0] == "Downloading breastmnist.npz from 127.0.0.1 (an answer may take 20 s)"
    assert said[1] == "127.0.0.1 answered 503 Service Unavailable; trying again in 0.001 s"
    assert said[2] == said[0]


def test_a_cache_that_is_a_file_is_named(tmp_path: Path, official: bytes, server: Server) -> None:
    server.answers = [ok(official)]
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"the folder cannot be written \((Not a directory|File exists)\)"):
        medmnist.fetch(folder=tmp_path / "file" / "below", address=server.address)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_be_written_is_named_and_left_clean(
    tmp_path: Path, official: bytes, server: Server, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("clineval.data.download._stream", fails)
    error = refused(tmp_path, server)
    assert isinstance(error, Unavailable)
    assert error.cause == f"the folder cannot be written ({os.strerror(code)})"


def test_ctrl_c_during_a_download_leaves_nothing(tmp_path: Path, official: bytes, server: Server) -> None:
    server.answers = [ok(official)]

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        medmnist.fetch(folder=tmp_path, address=server.address, announce=lambda step: interrupt)
    assert list(tmp_path.iterdir()) == []


# The real file ------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_the_official_file_has_the_published_counts_and_twins(real_breastmnist: Cohort) -> None:
    cohort = real_breastmnist
    events = [int(cohort.outcome[cohort.within(split)].sum()) for split in ("train", "val", "test")]
    assert events == [147, 21, 42]
    first, second = (int(np.flatnonzero(cohort.case == case)[0]) for case in ("train/115", "test/76"))
    assert (cohort.images[first] == cohort.images[second]).all()  # known near-duplicates with opposite labels
    assert cohort.outcome[first]
    assert not cohort.outcome[second]


@pytest.mark.real_data
@pytest.mark.parametrize("size", [64, 224])
def test_the_larger_official_files_load(real_data_folder: Path, size: int) -> None:
    if medmnist.find("breastmnist", size=size, folders=[real_data_folder]) is None:
        pytest.skip(f"no breastmnist_{size}.npz beside the 28-pixel file")
    assert medmnist.load(size=size, folders=[real_data_folder]).images.shape == (780, size, size)


# Every other set --------------------------------------------------------------------------------------

FEW = {"train": 30, "val": 8, "test": 12}


def stand_in(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    dataset: str,
    *,
    size: int = 28,
    cases: dict[str, int] = FEW,
    **changes: np.ndarray,
) -> dict[str, np.ndarray]:
    """A small file that counts as the official one of a set, and the arrays that it holds."""
    facts = medmnist.SETS[dataset]
    generator = np.random.default_rng(0)
    colour = () if facts.channels == 1 else (3,)
    columns, values = (len(facts.labels), 2) if facts.multi_label else (1, len(facts.labels))
    arrays: dict[str, np.ndarray] = {}
    for split, count in cases.items():
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, size, size, *colour), dtype=np.uint8)
        arrays[f"{split}_labels"] = generator.integers(0, values, (count, columns)).astype(np.uint8)
    arrays |= changes
    path = folder / medmnist.file_name(dataset, size)
    np.savez_compressed(path, **arrays)
    md5 = {**facts.md5, size: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}
    monkeypatch.setitem(medmnist.SETS, dataset, replace(facts, cases=cases, md5=md5))
    return arrays


def every(arrays: dict[str, np.ndarray], kind: str) -> np.ndarray:
    return np.concatenate([arrays[f"{split}_{kind}"] for split in ("train", "val", "test")])


@pytest.mark.parametrize("dataset", medmnist.SETS)
def test_the_facts_of_a_set_are_whole(dataset: str) -> None:
    facts = medmnist.SETS[dataset]
    assert facts.title.lower() == dataset
    assert set(facts.md5) == {28, 64, 128, 224}
    assert all(len(value) == 32 and int(value, 16) for value in facts.md5.values())
    assert all(len(value) == 64 and int(value, 16) for value in facts.sha256.values())
    assert list(facts.cases) == ["train", "val", "test"]
    assert facts.channels in (1, 3)
    assert len(set(facts.labels)) == len(facts.labels) >= 2
    assert all(name == name.strip() for name in facts.labels)
    assert (facts.condition in facts.labels) == (len(facts.labels) == 2)
    assert facts.licence.startswith("CC BY")


def test_no_two_files_share_a_checksum_and_there_are_twelve_sets() -> None:
    checksums = [value for facts in medmnist.SETS.values() for value in facts.md5.values()]
    assert len(set(checksums)) == len(checksums) == 48


@pytest.mark.real_data
def test_the_published_md5_is_that_of_the_files_at_hand(real_data_folder: Path) -> None:
    for size in (28, 64, 224):
        path = real_data_folder / medmnist.file_name("breastmnist", size)
        if path.is_file():
            found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            assert found == FACTS.md5[size]


def test_a_two_class_set_needs_no_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = stand_in(monkeypatch, tmp_path, "pneumoniamnist")
    cohort = medmnist.load("pneumoniamnist", folders=[tmp_path])
    assert cohort.condition == "pneumonia"
    assert np.array_equal(cohort.outcome, every(arrays, "labels")[:, 0] == 1)
    assert np.array_equal(cohort.images, every(arrays, "images"))
    assert cohort.source.sha256 == hashlib.sha256((tmp_path / "pneumoniamnist.npz").read_bytes()).hexdigest()


def test_one_class_is_set_against_the_rest_and_colour_becomes_grey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = stand_in(monkeypatch, tmp_path, "dermamnist")
    cohort = medmnist.load("dermamnist", condition="Melanoma", folders=[tmp_path])
    assert cohort.condition == "melanoma"
    assert np.array_equal(cohort.outcome, every(arrays, "labels")[:, 0] == 4)
    assert np.array_equal(cohort.images, grey_of_colour(every(arrays, "images")))
    assert [label.name for label in cohort.source.labels if label.is_condition] == ["melanoma"]
    assert "ITU-R BT.601" in cohort.source.preparation
    assert cohort.source.licence == "CC BY-NC 4.0"
    assert cohort.colour is None


def test_colour_is_kept_beside_grey_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = stand_in(monkeypatch, tmp_path, "dermamnist")
    path = tmp_path / "dermamnist.npz"
    cohort = medmnist.read(path, "dermamnist", condition="melanoma", colour=True)
    assert np.array_equal(cohort.colour, every(arrays, "images"))
    assert np.array_equal(cohort.images, grey_of_colour(every(arrays, "images")))
    assert np.array_equal(cohort.select(np.array([3, 1])).colour, every(arrays, "images")[[3, 1]])
    stand_in(monkeypatch, tmp_path, "pneumoniamnist")
    assert medmnist.read(tmp_path / "pneumoniamnist.npz", "pneumoniamnist", colour=True).colour is None


def test_several_classes_may_be_the_condition_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = stand_in(monkeypatch, tmp_path, "retinamnist")
    asked = "grade 4 or grade 2 or grade 3"
    cohort = medmnist.load("retinamnist", condition=asked, folders=[tmp_path])
    assert cohort.condition == "grade 2 or grade 3 or grade 4"
    assert np.array_equal(cohort.outcome, every(arrays, "labels")[:, 0] >= 2)


def test_a_finding_of_a_multi_label_set_is_its_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = stand_in(monkeypatch, tmp_path, "chestmnist")
    cohort = medmnist.load("chestmnist", condition="hernia", folders=[tmp_path])
    assert np.array_equal(cohort.outcome, every(arrays, "labels")[:, 13] == 1)
    assert [(label.code, label.name) for label in cohort.source.labels] == [(1, "hernia"), (0, "no hernia")]


@pytest.mark.parametrize(
    ("dataset", "condition", "message"),
    [
        ("dermamnist", None, "DermaMNIST has 7 classes; say which is the condition.*'melanoma'"),
        ("chestmnist", None, "ChestMNIST has 14 findings; say which .*'hernia'"),
        ("dermamnist", "melanom", "needs a label of DermaMNIST: .*'melanoma'.*; got 'melanom'"),
        (
            "breastmnist",
            "benign",
            "needs a label of BreastMNIST: 'malignant', 'normal or benign'; got 'benign'",
        ),
        ("pneumoniamnist", "normal or pneumonia", "needs some of the classes"),
        ("breastmnist", "", "BreastMNIST has 2 classes; say which is the condition"),
    ],
)
def test_a_condition_is_asked_for_by_name_and_never_guessed(
    dataset: str, condition: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        medmnist.load(dataset, condition=condition, folders=[tmp_path])


def test_a_set_of_which_only_the_md5_is_known_is_checked_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, "bloodmnist")
    monkeypatch.setitem(medmnist.SETS, "bloodmnist", replace(medmnist.SETS["bloodmnist"], md5={28: "0" * 32}))
    with pytest.raises(
        InputError, match=r"not the official bloodmnist\.npz: its MD5 is .*, the official file's 000"
    ):
        medmnist.load("bloodmnist", condition="platelet", folders=[tmp_path])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": np.full((8, 1), 9, np.uint8)}, r"val_labels holds \[9\], labels other than"),
        ({"val_labels": np.zeros((8, 14), np.uint8)}, r"val_labels needs whole numbers of shape \(8, 1\)"),
        (
            {"val_images": np.zeros((8, 28, 28), np.uint8)},
            r"val_images needs uint8 of shape \(8, 28, 28, 3\)",
        ),
    ],
)
def test_a_file_of_another_set_is_refused(
    changes: dict[str, np.ndarray], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, "dermamnist", **changes)
    with pytest.raises(InputError, match=message):
        medmnist.load("dermamnist", condition="melanoma", folders=[tmp_path])


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["chestmnist", "pathmnist"])
def test_the_images_of_a_large_set_are_in_memory_once(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {"train": 24_000, "val": 2_000, "test": 4_000}
    blank = {
        f"{split}_images": np.zeros((count, 28, 28, *((3,) if dataset == "pathmnist" else ())), np.uint8)
        for split, count in cases.items()
    }
    stand_in(monkeypatch, tmp_path, dataset, cases=cases, **blank)
    del blank
    condition = medmnist.SETS[dataset].labels[-1]
    tracemalloc.start()
    cohort = medmnist.load(dataset, condition=condition, folders=[tmp_path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(cohort) == 30_000
    assert peak < 2.6 * cohort.images.nbytes  # the images once, names of cases, and one block in passing
