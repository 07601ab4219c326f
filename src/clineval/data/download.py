"""A file from the network: whole and as expected, or refused, within limits of bytes and time."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests
from urllib3.exceptions import HTTPError, MaxRetryError

from clineval.data.medmnist_files import UNWRITABLE, Unavailable
from clineval.errors import Announce, InputError, Progress, silent

CONNECT_SECONDS = 10.0  # a machine without network should learn it soon
READ_SECONDS = 10.0  # silence of a server, before its answer or in the middle of a transfer
ANSWER_SECONDS = 20.0  # from the first word to the file's first byte, redirects and slow headers included
ALL_ANSWERS_SECONDS = 55.0  # the same for all attempts and the pauses between them
LEAST_RATE = 1000.0  # bytes a second: a server that drips is given up, as one that is silent
PATIENCE = 30.0  # seconds of a transfer before its rate is looked at
CHUNK_BYTES = 1 << 16
ATTEMPTS = 4  # pauses of 1, 2 and 4 s: an overloaded archive answers 503 for seconds, not for minutes
PLAIN = {"Accept-Encoding": "identity"}  # the file as it is: nothing to inflate on the way


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
    most_bytes: int,
    announce: Announce = silent,
    wait: float = 1.0,
) -> Path:
    """Fetch ``url`` to ``target``: a temporary file beside it, the checksum, then an atomic rename.

    A server error (5xx), a request to slow down (429) and a broken transfer are tried again, after
    ``wait`` seconds and then twice as long each time. Nothing is left at ``target`` unless it is whole.

    Parameters
    ----------
    checksum : its kind and its value, ``sha256:3a22...`` or ``md5:7506...``.
    most_bytes : the transfer ends with a refusal where more than these arrive.
    announce : told of each attempt and each pause as it begins; its progress gets bytes.

    Raises
    ------
    Unavailable : no connection, no answer, an error from the server, or a folder that cannot be written.
    InputError : the file arrived whole and is not the expected one, or is larger than it can be.
    """
    host, deadline = urlsplit(url).hostname or url, time.monotonic() + ALL_ANSWERS_SECONDS
    for attempt in count():
        limit = f"an answer may take {ANSWER_SECONDS:g} s"
        progress = announce(f"Downloading {target.name} from {host} ({limit})")
        try:
            _attempt(url, target, checksum=checksum, most_bytes=most_bytes, progress=progress)
            return target
        except _Broken as broken:
            pause = wait * 2**attempt
            late = time.monotonic() + pause > deadline
            if not broken.passing or attempt + 1 == ATTEMPTS or late:
                raise Unavailable(f"{url} could not be fetched: {broken}.", cause=str(broken)) from broken
            announce(f"{broken}; trying again in {pause:g} s")
        time.sleep(pause)
    return target


def _attempt(url: str, target: Path, *, checksum: str, most_bytes: int, progress: Progress) -> None:
    pooch.get_logger().setLevel("WARNING")  # only the command line speaks to the user
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url,
            known_hash=checksum,
            fname=target.name,
            path=target.parent,
            downloader=lambda url, file, _: _stream(
                url, Path(file), most_bytes=most_bytes, progress=progress
            ),
        )
    except requests.RequestException as error:  # before OSError and ValueError, its parents
        raise _broken(error, urlsplit(url).hostname or url) from error
    except OSError as error:
        cause = f"{UNWRITABLE} ({error.strerror or 'Permission denied'})"
        raise _Broken(cause, passing=False) from error
    except InputError:
        raise
    except ValueError as error:
        kind, _, value = checksum.partition(":")
        name = {"sha256": "SHA-256", "md5": "MD5"}[kind]
        raise InputError(
            f"{url} was fetched and thrown away: its {name} is not {value}, so it was truncated or altered "
            f"on the way (by a network's login page, perhaps)."
        ) from error
    with suppress(OSError):  # a file system without modes
        target.chmod(0o644)  # the temporary file was readable by its owner alone


def _stream(url: str, file: Path, *, most_bytes: int, progress: Progress) -> None:
    with _answer(url) as response, file.open("wb") as out:
        response.raise_for_status()
        total, done = _stated_bytes(response), 0
        for chunk in _timely(response):
            done += len(chunk)
            if max(total, done) > most_bytes:
                raise InputError(
                    f"{url} sends more than the {most_bytes:,} bytes that this file can have; "
                    "the transfer was ended and nothing was kept."
                )
            out.write(chunk)
            progress(done, total)
        out.flush()
        os.fsync(out.fileno())  # on the disk before it gets the name under which it is looked for


def _stated_bytes(response: requests.Response) -> int:
    stated = response.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else 0


def _answer(url: str) -> requests.Response:
    """The server's answer with its body unread; headers and redirects together have one deadline.

    A server that sends a byte of a header now and then keeps every single read within its limit, so the
    wait as a whole happens in a thread that is left behind when the time is up.
    """
    found: list[Any] = []
    late = threading.Event()

    def ask() -> None:
        try:
            timeout = (CONNECT_SECONDS, READ_SECONDS)
            found.append(requests.get(url, stream=True, timeout=timeout, headers=PLAIN))
        except Exception as error:
            found.append(error)
        if late.is_set():  # nobody waits any more
            _close(found[0])

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if not found:
        late.set()
        raise requests.ReadTimeout(f"no answer within {ANSWER_SECONDS:g} s")
    if isinstance(found[0], Exception):
        raise found[0]
    response: requests.Response = found[0]
    return response


def _close(answer: requests.Response | Exception) -> None:
    """Close the connection of an answer, or of the error that ended a chain of redirects."""
    response = answer if isinstance(answer, requests.Response) else getattr(answer, "response", None)
    if response is not None:
        response.close()


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
    exceptions = requests.exceptions
    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        status = error.response.status_code
        return _Broken(
            f"{host} answered {status} {error.response.reason}", passing=status >= 500 or status == 429
        )
    if isinstance(error, exceptions.Timeout):  # not tried again: a server that is silent stays so
        return _Broken(f"no answer in time from {host}", passing=False)
    if isinstance(error, exceptions.TooManyRedirects):
        return _Broken(f"{host} redirects without end", passing=False)
    if isinstance(error, exceptions.InvalidSchema | exceptions.InvalidURL | exceptions.MissingSchema):
        return _Broken(f"{host} redirects to no web address ({error})", passing=False)
    if isinstance(error, exceptions.SSLError):
        return _Broken(f"no trusted connection to {host} (TLS)", passing=False)
    # What requests calls a ConnectionError is also one that was made and then lost, which may pass.
    if isinstance(error, exceptions.ConnectionError) and isinstance(error.args[0], MaxRetryError):
        return _Broken(f"no network connection to {host}", passing=False)
    return _Broken(f"the transfer from {host} broke off, truncated", passing=True)
