"""The version of the program, as its installed package says."""

from functools import cache
from importlib import metadata

UNKNOWN = "0+unknown"  # of source files that no installation stands behind


@cache
def program_version() -> str:
    """The version of the installed distribution ``clineval``."""
    try:
        return metadata.version("clineval")
    except metadata.PackageNotFoundError:
        return UNKNOWN
