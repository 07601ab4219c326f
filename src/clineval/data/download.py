"""One file from the network: whole, verified and renamed into place, or a refusal that names the cause."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from urllib3.exceptions import HTTPError, MaxRetryError

from clineval.errors import InputError

CONNECT_SECONDS = 10.0  # a machine without network should learn it soon
READ_SECONDS = 10.0  # silence of a server, before its answer or in the middle of a transfer
LEAST_RATE = 1000.0  # bytes a second: a server that drips is given up, as one that is silent
PATIENCE = 30.0  # seconds of an attempt before its rate is looked at
CHUNK_BYTES = 1 << 16
UNWRITABLE = "the folder cannot be written"  # how such a cause begins
ATTEMPTS = 4  # pauses of 1, 2 and 4 s: an overloaded archive answers 503 for seconds, not for minutes

Progress = Callable[[int, int], None]


class Unavailable(InputError):
    """The data are nowhere to be had. ``cause`` says why in a few words that hold no path."""

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class _Broken(Exception):
    """One attempt failed; ``passing`` where another attempt may do better."""

    def __init__(self, cause: str, *, passing: bool) -> None:
        super().__init__(cause)
        self.passing = passing


def download(
    url: str,
    target: Path,
    *,
    checksum: str,
    progress: Progress | None = None,
    wait: float = 1.0,
) -> Path:
    """Fetch ``url`` to ``target``: a temporary file beside it, the checksum, then an atomic rename.

    ``checksum`` is its kind and its value, ``sha256:3a22...`` or ``md5:7506...``.

    A server error (5xx), a request to slow down (429) and a broken transfer are tried again, after
    ``wait`` seconds and then twice as long each time. Nothing is left at ``target`` unless it is whole.

    Raises
    ------
    Unavailable : no connection, no answer, an error from the server, or a folder that cannot be written.
    InputError : the file came whole and is not the one wanted.
    """
    attempt = 1
    while True:
        try:
            _attempt(url, target, checksum=checksum, progress=progress)
            return target
        except _Broken as broken:
            if not broken.passing or attempt == ATTEMPTS:
                raise Unavailable(f"{url} could not be fetched: {broken}.", cause=str(broken)) from broken
        time.sleep(wait * 2 ** (attempt - 1))
        attempt += 1


def _attempt(url: str, target: Path, *, checksum: str, progress: Progress | None) -> None:
    pooch.get_logger().setLevel("WARNING")  # only the door speaks to the user
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url,
            known_hash=checksum,
            fname=target.name,
            path=target.parent,
            downloader=lambda url, file, _: _stream(url, Path(file), progress=progress),
        )
    except requests.RequestException as error:  # before OSError and ValueError, its parents
        raise _broken(error, urlsplit(url).hostname or url) from error
    except OSError as error:
        cause = f"{UNWRITABLE} ({error.strerror or 'Permission denied'})"
        raise _Broken(cause, passing=False) from error
    except ValueError as error:
        kind, _, value = checksum.partition(":")
        name = {"sha256": "SHA-256", "md5": "MD5"}[kind]
        raise InputError(
            f"{url} was fetched and thrown away: its {name} is not {value}, so it was truncated or altered "
            f"on the way (by a network's login page, perhaps)."
        ) from error
    with suppress(OSError):  # a file system without modes
        target.chmod(0o644)  # the temporary file was readable by its owner alone


def _stream(url: str, file: Path, *, progress: Progress | None) -> None:
    # pooch's own downloader leaves the connection open where the server answers with an error.
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    with requests.get(url, stream=True, timeout=timeout) as response, file.open("wb") as out:
        response.raise_for_status()
        total, done = int(response.headers.get("content-length", 0)), 0
        for chunk in _timely(response):
            done += out.write(chunk)
            if progress:
                progress(done, total)
        out.flush()
        os.fsync(out.fileno())  # on the disk before it gets the name under which it is looked for


def _timely(response: requests.Response) -> Iterator[bytes]:
    """What arrives, as it arrives; an end where the server is silent or slower than it may be."""
    read = getattr(response.raw, "read1", response.raw.read)  # read waits until a whole chunk is there
    began, done = time.monotonic(), 0
    try:
        while chunk := read(CHUNK_BYTES, decode_content=True):
            yield chunk
            done += len(chunk)
            seconds = time.monotonic() - began
            if seconds > PATIENCE and done < LEAST_RATE * seconds:
                raise requests.ReadTimeout(f"slower than {LEAST_RATE:.0f} bytes a second")
    except HTTPError as error:
        raise requests.ConnectionError(error) from error


def _broken(error: requests.RequestException, host: str) -> _Broken:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return _Broken(
            f"{host} answered {status} {error.response.reason}", passing=status >= 500 or status == 429
        )
    if isinstance(error, requests.Timeout):  # not tried again: a server that is silent stays so
        return _Broken(f"no answer in time from {host}", passing=False)
    if isinstance(error, requests.exceptions.SSLError):
        return _Broken(f"no trusted connection to {host} (TLS)", passing=False)
    # What requests calls a ConnectionError is also one that was made and then lost, which may pass.
    if isinstance(error, requests.ConnectionError) and isinstance(error.args[0], MaxRetryError):
        return _Broken(f"no network connection to {host}", passing=False)
    return _Broken(f"the transfer from {host} broke off, truncated", passing=True)
