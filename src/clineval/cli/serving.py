"""The command that shows a finished run in a browser: serve."""

import os
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from clineval.cli.console import complain, notify, say
from clineval.errors import require_extra


def serve(
    results: Annotated[Path, typer.Argument(help="Folder written by clineval run.")] = Path("results"),
    host: Annotated[
        str, typer.Option(help="Address to listen at; another than this computer's own needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8642,
    token: Annotated[
        str | None,
        typer.Option(help="What others must send; 16 characters or more.", envvar="CLINEVAL_TOKEN"),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
    max_bytes: Annotated[int, typer.Option(help="Bytes of one file.")] = 50_000_000,
    max_pixels: Annotated[int, typer.Option(help="Pixels of one image.")] = 50_000_000,
    max_files: Annotated[int, typer.Option(help="Files of one request.")] = 200,
    max_seconds: Annotated[
        float, typer.Option(help="Seconds to send a request, and again to answer it.")
    ] = 60.0,
    max_requests: Annotated[int, typer.Option(help="Requests at once; more are told to wait.")] = 32,
) -> None:
    """A page to drop images on: warnings, risk by the primary model, nearest training images; and an API.

    For research, on this computer only: nothing is stored and nothing is sent elsewhere. Ends with Ctrl-C.

    Examples:
      clineval serve results
      clineval serve results --port 0 --no-open
    """
    require_extra("serve", for_what="clineval serve")
    from clineval.pipeline.serve import open_run
    from clineval.pipeline.web import Limits, application, bound_socket, check_limits, check_place, run_server

    limits = Limits(max_bytes, max_pixels, max_files, max_seconds, max_requests)
    check_limits(limits)
    check_place(host, port, token)
    served = open_run(results)
    app = application(served, limits=limits, host=host, token=token, complain=complain)
    if served.run.notice:
        notify(served.run.notice)
    if token is not None:
        notify("The connection is not encrypted; beyond this computer put it behind HTTPS or an SSH tunnel.")
    with bound_socket(host, port) as at:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{at.getsockname()[1]}/"

        def ready() -> None:
            say(f"Page: {address} (research only; ends with Ctrl-C)")
            sys.stdout.flush()
            threading.Thread(target=served.prepare, daemon=True).start()
            if not no_open and _has_screen():
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        try:
            run_server(app, at, limits=limits, ready=ready)
        except KeyboardInterrupt:
            say("Stopped.")


def _has_screen() -> bool:
    """Whether a browser has a screen to open on; on a terminal alone it would take the terminal over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
