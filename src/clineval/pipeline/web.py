"""The page and the interface of ``clineval serve`` over HTTP: checks, limits, routes."""

import asyncio
import hmac
import html
import ipaddress
import logging
import re
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from os import cpu_count
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import h11
import jinja2
import uvicorn
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from threadpoolctl import threadpool_limits
from uvicorn.protocols.http.h11_impl import H11Protocol

import clineval.reporting
from clineval.data.image_files import MOST_BYTES, MOST_PIXELS, HeldFile
from clineval.data.preparation import DEEP, FITS
from clineval.errors import InputError, on_command_line, option
from clineval.pipeline.serve import Preparing, Served, describe_run, examine, explain_held, predict_held
from clineval.pipeline.stored_run import AS_TRAINED

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_SENT = 256_000_000  # bytes of one request
MOST_HELD = 512_000_000  # bytes of all requests that are being read or answered
MOST_CONNECTIONS = 512
MOST_NAME = 255  # characters of a file's name
WORKERS = min(4, cpu_count() or 1)  # requests that are scored at once; the others wait
SHORTEST_TOKEN = 16  # characters
LONGEST_BOUNDARY = 70  # bytes between the parts of a form (RFC 2046)
DRAINED = 5.0  # seconds for which the rest of a refused upload is still taken, so that the refusal is read
OPEN = ("/healthz", "/style.css")  # what needs no token
ASSETS = Path(clineval.reporting.__file__).parent
COOKIE = "clineval"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Limits:
    """What one request may send and take; anything beyond is refused in one line.

    Attributes
    ----------
    bytes, pixels : per file.
    files : per request.
    seconds : for a request to arrive, and again for its answer.
    requests : being read or answered at once.
    """

    bytes: int = 50_000_000
    pixels: int = MOST_PIXELS
    files: int = 200
    seconds: float = 60.0
    requests: int = 32

    @property
    def sent(self) -> int:
        """Bytes of one request with all its files."""
        return min(MOST_SENT, self.files * (self.bytes + 4096))


class Problem(BaseModel):
    """Why a request was refused, in one line."""

    error: str


class Refused(Exception):
    """A request that is refused: the status, and the line that says why."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line


FAULT = Refused(500, "An unexpected fault of the program; the server is still running.")


class Capacity:
    """A limited amount; a request for more than is left is refused with 503. Safe to share among threads."""

    def __init__(self, most: int) -> None:
        self.left, self._lock = most, threading.Lock()

    def take(self, amount: int) -> None:
        """Reserve an amount until it is given back."""
        with self._lock:
            if amount > self.left:
                raise Refused(503, "The server is busy; send the request again in a moment.")
            self.left -= amount

    def give(self, amount: int) -> None:
        """Return what was reserved."""
        with self._lock:
            self.left += amount


def check_limits(limits: Limits) -> None:
    """Refuse limits that no request could meet, or that are above the program's own."""
    most = {"bytes": min(MOST_BYTES, MOST_SENT), "pixels": MOST_PIXELS, "files": 10_000, "requests": 1000}
    for name, highest in most.items():
        if not 1 <= getattr(limits, name) <= highest:
            raise InputError(
                f"{option(f'--max-{name}', name)} needs 1 to {highest:,}; got {getattr(limits, name):,}."
            )
    if not 0.1 <= limits.seconds <= 3600:
        raise InputError(f"{option('--max-seconds', 'seconds')} needs 0.1 to 3,600; got {limits.seconds:g}.")


def check_place(host: str, port: int, token: str | None) -> None:
    """Refuse an invalid port, and an address open to others without a token that is hard to guess."""
    if not 0 <= port <= 65_535:
        raise InputError(f"{option('--port')} needs 0 to 65,535; got {port}.")
    if host not in LOOPBACK and token is None:
        raise InputError(
            f"{option('--host')} {host} lets other computers connect and needs {option('--token')} as well."
        )
    if token is not None and not token.isascii():
        raise InputError(f"{option('--token')} needs ASCII characters: programs send it in a header.")
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise InputError(f"{option('--token')} needs at least {SHORTEST_TOKEN} characters; got {len(token)}.")


# What every request passes first ----------------------------------------------------------------------


class Guard:
    """Checks the Host header, the folder, token and origin, then adds the security headers to every answer.

    Parameters
    ----------
    host : that the server was bound to; loopback names and this computer's own are known, too.
    complain : gets one line about a fault of the program, without any name of a file.
    """

    def __init__(
        self, app: App, served: Served, *, host: str, token: str | None, complain: Callable[[str], None]
    ) -> None:
        self._app, self._served, self._token, self._complain = app, served, token, complain
        self._anywhere = host in ("0.0.0.0", "::")
        self._hosts = {*LOOPBACK, host.lower(), socket.gethostname().lower()}
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, receive, send)
        try:
            answer = self._checked(Request(scope))
            await (answer or self._app)(scope, exchange.receive, exchange.send)
        except Refused as refusal:
            await refused(refusal)(scope, exchange.receive, exchange.send)
        except Exception as error:
            self._complain(f"A request ended in an unexpected fault ({type(error).__name__}).")
            if not exchange.started:
                await refused(FAULT)(scope, exchange.receive, exchange.send)

    def _checked(self, request: Request) -> Response | None:
        """None where the request may pass, or what to answer in its place."""
        host = request.headers.get("host", "")
        if not self._is_known(host):
            raise Refused(421, "The Host header names another server; open the address that was printed.")
        if not self._served.unchanged:
            raise Refused(
                409, f"{self._served.folder.name} changed while it was served; restart clineval serve."
            )
        if self._token is not None and request.url.path not in OPEN and not self._is_let_in(request):
            return self._sign_in(request)
        if request.method not in ("GET", "HEAD"):
            _check_origin(request, host)
        return None

    def _is_known(self, header: str) -> bool:
        """Whether a Host header names this server; any other name is a sign of DNS rebinding."""
        try:
            name = (urlsplit(f"//{header}").hostname or "").lower()
        except ValueError:
            return False
        return name in self._hosts or (self._anywhere and _is_address(name))

    def _is_let_in(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        by_header = kind.lower() == "bearer" and _equal(given.strip(), self._token or "")
        return by_header or _equal(request.cookies.get(COOKIE, ""), self._session)

    def _sign_in(self, request: Request) -> Response:
        """A browser gets its cookie for the right token, else the form for it; a program gets one line."""
        given = request.query_params.get("token")
        if request.method == "GET" and request.url.path == "/":
            if given is not None and _equal(given, self._token or ""):
                answer = RedirectResponse("/", status_code=303)
                answer.set_cookie(COOKIE, self._session, httponly=True, samesite="strict")
                return answer
            return HTMLResponse((ASSETS / "serve_token.html").read_bytes(), status_code=401)
        raise Refused(401, "A token is needed: send the header 'Authorization: Bearer TOKEN'.")


class _Exchange:
    """One request and its answer: discards what a refusal left unread, and adds headers."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._waits = any(name == b"expect" for name, _ in scope["headers"])
        self.started = self._whole = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if message["status"] != 408:
                await self._drain()
            given = {name for name, _ in message.get("headers", ())}
            ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            added = [(name, value) for name, value in ours if name not in given]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await self._send(message)

    async def _drain(self) -> None:
        """Read and discard the rest of an upload: closing the connection earlier would lose the answer."""
        left = 0 if self._waits else 4 * MOST_SENT
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAINED):
                while not self._whole and left > 0:
                    left -= len((await self.receive()).get("body", b""))


def refused(refusal: Refused) -> JSONResponse:
    """The answer to a request that is refused."""
    headers = {"retry-after": "1"} if refusal.status == 503 else None
    return JSONResponse({"error": refusal.line}, status_code=refusal.status, headers=headers)


def _check_origin(request: Request, host: str) -> None:
    """Refuse a request sent by another site's page: browsers say so, programs send neither header."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    if (origin is not None and _place_of(origin) != host) or site not in ("same-origin", "none"):
        raise Refused(403, "The request comes from the page of another site; open the address printed.")


def _place_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # brackets that hold no address
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


# What is sent -----------------------------------------------------------------------------------------


logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # a broken form is told to its sender


class _Upload:
    """The files of one multipart body, taken apart as it arrives and kept in memory."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self.files: list[HeldFile] = []
        self._limits, self._whole = limits, False
        self._field, self._value, self._name = b"", b"", ""
        self._disposition, self._content = b"", bytearray()
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
        calls = {f"on_{name}": getattr(self, f"_on_{name}") for name in (*names, "headers_finished", "end")}
        self._parser = MultipartParser(boundary, calls)  # type: ignore[arg-type]

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._parser.write(chunk)

    def finish(self) -> list[HeldFile]:
        """Every file, once the body has ended."""
        if not self._whole:
            raise Refused(400, "The upload ended before it was complete; send it again.")
        if not self.files:
            raise Refused(400, "Expected at least one image file in the form; got none.")
        return self.files

    def close(self) -> None:
        """Let go of what was sent: the parser refers to this object, which refers to it."""
        del self._parser, self._content

    def _on_part_begin(self) -> None:
        if len(self.files) >= self._limits.files:
            raise Refused(413, f"More than {self._limits.files:,} files at once; send fewer at a time.")
        self._disposition, self._content = b"", bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        given = parse_options_header(self._disposition)[1].get(b"filename")
        if given is None:
            raise Refused(400, "Expected only files in the form; got a field that is not a file.")
        self._name = last_name(given.decode("utf-8", "backslashreplace"))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > self._limits.bytes:
            raise Refused(413, f"{self._name}: it has more than {self._limits.bytes:,} bytes.")
        self._content += memoryview(data)[start:end]

    def _on_part_end(self) -> None:
        self.files.append(HeldFile(self._name, bytes(self._content), self._limits.pixels))
        self._content = bytearray()

    def _on_end(self) -> None:
        self._whole = True


def last_name(given: str) -> str:
    """The last part of a file's name, without folders; nothing is ever opened by this name."""
    name = re.split(r"[/\\]", given.replace("\x00", ""))[-1]
    return name[-MOST_NAME:] if name.strip(".") else "unnamed"


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Refused(415, "Expected a form of files (multipart/form-data).")
    if len(options[b"boundary"]) > LONGEST_BOUNDARY:
        raise Refused(400, f"The form's boundary has more than {LONGEST_BOUNDARY} bytes.")
    return options[b"boundary"]


# What is answered -------------------------------------------------------------------------------------


OPTIONS = {"fit", "bits", "matching", "second_view", "skip_unreadable"}
FURTHER = {"/api/examine": {"pictures"}, "/api/explain": {"model"}}


def _preparing(
    request: Request,
    fit: Annotated[str, Query(json_schema_extra={"enum": [AS_TRAINED, *FITS]})] = AS_TRAINED,
    bits: Annotated[int, Query(ge=8, le=DEEP)] = DEEP,
    matching: bool = True,
    second_view: bool = True,
    skip_unreadable: bool = False,
) -> Preparing:
    """The options of ``clineval predict``, by the same names and with the same defaults."""
    known = OPTIONS | FURTHER.get(request.url.path, set())
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise Refused(
            422, f"There is no option {unknown[0][:100]!r} here; there are {', '.join(sorted(known))}."
        )
    return Preparing(fit, bits, matching, second_view, skip_unreadable)


How = Annotated[Preparing, Depends(_preparing)]


class Service:
    """The routes: each reads a request, has it answered by the served run, and keeps nothing."""

    def __init__(self, served: Served, limits: Limits) -> None:
        self._served, self._limits = served, limits
        self._slots, self._held = Capacity(limits.requests), Capacity(MOST_HELD)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="scoring")
        self._model = {**describe_run(served), "limits": {**asdict(limits), "sent": limits.sent}}

    async def model(self) -> JSONResponse:
        """Condition, models with frozen thresholds and their counts, the run's hash, and the limits."""
        return JSONResponse(self._model)

    async def health(self) -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    async def predict(self, request: Request, how: How) -> Response:
        """Risks and flags of one or several images, as ``clineval predict --format json`` gives them."""
        text = await self._answer(request, lambda files: predict_held(self._served, files, how).to_json())
        return Response(text, media_type="application/json")

    async def examine(self, request: Request, how: How, pictures: bool = False) -> JSONResponse:
        """What predict gives, and of each image warnings and square; with pictures its neighbours, too."""
        found = await self._answer(
            request, lambda files: examine(self._served, files, how, pictures=pictures)
        )
        return JSONResponse(found)

    async def explain(self, request: Request, how: How, model: str | None = None) -> JSONResponse:
        """What the risk of one image depends on by one model, checked, as ``clineval explain`` has it."""

        def mapped(files: list[HeldFile]) -> dict[str, Any]:
            if len(files) > 1:
                raise Refused(400, f"Expected one image; got {len(files)}. Send one at a time.")
            return explain_held(self._served, files[0], how, model=model)

        return JSONResponse(await self._answer(request, mapped))

    async def _answer(self, request: Request, work: Callable[[list[HeldFile]], Answer]) -> Answer:
        """What a thread of the pool makes of a request's files, with refusals in the command line's words.

        The place of the request and its bytes are given back when the work ends, which may be after its
        time is up: a thread cannot be stopped.
        """
        with ExitStack() as hold:
            files = await self._uploaded(request, hold)
            running = self._pool.submit(_in_its_words, work, files)
            held = hold.pop_all()
        running.add_done_callback(lambda _: held.close())
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await asyncio.wrap_future(running)
        except InputError as error:
            raise Refused(422, str(error)) from error
        except MemoryError:
            raise Refused(503, "Out of memory; send fewer or smaller images.") from None
        except TimeoutError:
            line = f"The answer took longer than {self._limits.seconds:g} s; send fewer images."
            raise Refused(503, line) from None
        finally:
            del running  # which keeps an error, the error this frame, and both the files

    async def _uploaded(self, request: Request, hold: ExitStack) -> list[HeldFile]:
        """The files of a request; ``hold`` gives back its place and its bytes when it is closed."""
        upload, taken = _Upload(_boundary(request), self._limits), 0
        self._check_length(request)
        self._slots.take(1)
        hold.callback(self._slots.give, 1)
        try:
            async with asyncio.timeout(self._limits.seconds):
                async for chunk in request.stream():
                    self._held.take(len(chunk))
                    taken += len(chunk)
                    self._check_sent(taken)
                    upload.write(chunk)
            return upload.finish()
        except TimeoutError:
            raise Refused(408, f"The upload took longer than {self._limits.seconds:g} s.") from None
        except ClientDisconnect:
            raise Refused(400, "The connection broke before the upload was complete.") from None
        except FormParserError:
            raise Refused(400, "The form cannot be read; send the files as multipart/form-data.") from None
        finally:
            hold.callback(self._held.give, taken)
            upload.close()

    def _check_length(self, request: Request) -> None:
        length = request.headers.get("content-length", "")
        self._check_sent(int(length) if length.isdecimal() else 0)

    def _check_sent(self, size: int) -> None:
        if size > self._limits.sent:
            raise Refused(413, f"More than {self._limits.sent:,} bytes at once; send fewer or smaller files.")


def _in_its_words(work: Callable[[list[HeldFile]], Answer], files: list[HeldFile]) -> Answer:
    """Do the work; what it refuses names options as the command line does."""
    with on_command_line():
        return work(files)


FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {
                    "images": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "PNG, JPEG, TIFF or DICOM files",
                    }
                },
            }
        }
    },
}
REASONS = {
    400: "The form is broken or holds no file.",
    401: "No token, or a wrong one.",
    403: "Sent by the page of another site.",
    408: "The upload took too long.",
    409: "The results folder changed since the server started.",
    413: "Too many bytes or files.",
    415: "No form of files.",
    421: "The Host header names another server.",
    422: "An image or an option cannot be used; the words are those of the command line.",
    503: "Busy, or too slow.",
}


def application(
    served: Served,
    *,
    limits: Limits,
    host: str = LOOPBACK[0],
    token: str | None = None,
    complain: Callable[[str], None] = lambda line: None,
) -> Guard:
    """The whole application, behind its guard."""
    service = Service(served, limits)
    app = FastAPI(
        title="clineval serve", version=describe_run(served)["program"], docs_url=None, redoc_url=None
    )
    _add_interface(app, service)
    _add_pages(app, served)
    for kind, handler in ((HTTPException, _by_status), (RequestValidationError, _by_option)):
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Refused, _by_refusal)
    app.add_exception_handler(Exception, _by_fault)  # answers; the guard tells of it
    return Guard(app, served, host=host, token=token, complain=complain)


def _add_interface(app: FastAPI, service: Service) -> None:
    every: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": text} for status, text in REASONS.items()
    }
    found = {"application/json": {"schema": {"type": "object"}}}
    for call in (service.predict, service.examine, service.explain):
        app.add_api_route(
            f"/api/{call.__name__}",
            call,
            methods=["POST"],
            response_model=None,
            openapi_extra={"requestBody": FORM},
            responses={200: {"description": "What the run says", "content": found}, **every},
        )
    about: dict[int | str, dict[str, Any]] = {status: every[status] for status in (409, 421)}
    told, lives = (
        {200: {"description": text}, **about} for text in ("What the run is", "The server answers")
    )
    told[401] = every[401]
    app.add_api_route("/api/model", service.model, response_model=None, responses=told)
    app.add_api_route("/healthz", service.health, responses=lives)


def _add_pages(app: FastAPI, served: Served) -> None:
    style = (ASSETS / "report.css").read_bytes() + (ASSETS / "serve.css").read_bytes()
    pages = {
        "/": _fixed((ASSETS / "serve.html").read_bytes(), "text/html"),
        "/page.js": _fixed((ASSETS / "serve.js").read_bytes(), "text/javascript"),
        "/style.css": _fixed(style, "text/css"),
        "/api": _fixed(_api_page(app.openapi()).encode(), "text/html"),
    }
    for path, written in (("/report", served.report), ("/adoption.html", served.adoption_page)):
        if written is not None:
            policy = {"content-security-policy": _policy_of(written)}
            pages[path] = _fixed(written, "text/html", policy)
    for path, page in pages.items():
        app.add_api_route(path, page, include_in_schema=False, response_model=None)


def _fixed(
    content: bytes, kind: str, headers: Mapping[str, str] | None = None
) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        return Response(content, media_type=kind, headers=headers)

    return page


def _policy_of(report: bytes) -> str:
    """What the report allows itself by the hashes of its own style and script, and no frame around it."""
    stated = re.search(rb'http-equiv="Content-Security-Policy" content="([^"]*)"', report[:4096])
    own = html.unescape(stated[1].decode()) if stated else "default-src 'none'"
    return f"{own}; frame-ancestors 'none'"


def _api_page(schema: Mapping[str, Any]) -> str:
    """The routes as a plain page; the schema itself is at ``/openapi.json``."""
    page = (ASSETS / "serve_api.html.jinja").read_text(encoding="utf-8")
    return jinja2.Template(page, autoescape=True).render(paths=schema["paths"])


async def _by_refusal(_request: Request, refusal: Any) -> JSONResponse:
    return refused(refusal)


async def _by_fault(_request: Request, _error: Exception) -> JSONResponse:
    return refused(FAULT)


async def _by_status(_request: Request, error: Any) -> JSONResponse:
    lines = {404: "There is nothing at this address; see /api.", 405: "This address needs another method."}
    line = lines.get(error.status_code, str(error.detail))
    return JSONResponse({"error": line}, status_code=error.status_code, headers=error.headers)


async def _by_option(_request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    what = (
        f"{first['loc'][-1]}: {first['msg'][0].lower()}{first['msg'][1:]}; got {str(first['input'])[:100]!r}."
    )
    return JSONResponse({"error": what}, status_code=422)


# The server -------------------------------------------------------------------------------------------


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at the address.

    Raises
    ------
    InputError : the port is taken, or the address is none of this computer's.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=256
        )
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(
            f"Cannot listen at {host}, port {port} ({why}); choose another "
            f"{option('--port')} or {option('--host')}."
        ) from error


def run_server(app: Any, at: socket.socket, *, limits: Limits, ready: Callable[[], None]) -> None:
    """Answer requests until the program is told to end; ``ready`` is called once they can come."""

    class Connection(_TimedConnection):
        patience = limits.seconds

    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        loop="asyncio",
        access_log=False,
        log_config=None,
        log_level="critical",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    with threadpool_limits(1):  # the same numbers whatever else is being scored
        _Server(config, ready).run(sockets=[at])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class _TimedConnection(H11Protocol):
    """A connection that is closed if no complete request head arrives in time, or if it is not HTTP."""

    patience = 60.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP in one line of JSON, like everything else that is refused."""
        answer = refused(Refused(400, "The request is not HTTP/1.1; see /api."))
        headers = [*HEADERS.items(), ("content-type", "application/json"), ("connection", "close")]
        self.transport.write(
            self.conn.send(h11.Response(status_code=400, headers=headers, reason="Bad Request"))
        )
        self.transport.write(self.conn.send(h11.Data(data=bytes(answer.body))))
        self.transport.write(self.conn.send(h11.EndOfMessage()))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.patience, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
