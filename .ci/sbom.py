"""Write build/sbom.cdx.json: every package of requirements.lock as CycloneDX, licences and needs included.

    .venv/bin/python .ci/sbom.py [TARGET]        (make sbom)

What is listed is what the lock pins; licences and needs are those that the installed packages state of
themselves. No network is used, and the same environment gives the same bytes.
"""

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "sbom.cdx.json"
PROGRAM = "clineval"
EXTRAS = ("train", "dicom", "cluster", "audit", "transfer")  # what the extra "all" brings


def bare(name: str) -> str:
    """A package's name in the one way of writing it: small letters and single hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """Version by name of everything that requirements.lock pins."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {bare(name): version.strip() for name, version in pairs}


def reference(name: str, version: str) -> str:
    """The package as a package URL, by which databases of vulnerabilities know it."""
    return f"pkg:pypi/{name}@{version}"


def component(name: str, version: str) -> dict[str, Any]:
    """One package with the licence that it states."""
    entry = {"type": "library", "bom-ref": reference(name, version), "name": name, "version": version}
    entry["purl"] = entry["bom-ref"]
    try:
        stated = metadata.metadata(name)
    except metadata.PackageNotFoundError:  # not for this machine
        return entry
    licence = stated.get("License-Expression")
    named = [
        line.rpartition(" :: ")[2] for line in stated.get_all("Classifier", []) if line.startswith("License")
    ]
    if licence:
        return {**entry, "licenses": [{"expression": licence}]}
    return {**entry, "licenses": [{"license": {"name": each}} for each in named]} if named else entry


def needs(name: str, versions: dict[str, str]) -> list[str]:
    """References of the locked packages that a package needs without any of its extras."""
    try:
        stated = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    return references([line for line in stated if "extra ==" not in line], versions)


def references(stated: list[str], versions: dict[str, str]) -> list[str]:
    """The locked packages among some requirements."""
    names = [re.match(r"[\w.-]+", line) for line in stated]
    found = sorted({bare(match.group()) for match in names if match})
    return [reference(each, versions[each]) for each in found if each in versions]


def project() -> dict[str, Any]:
    """The program itself, as pyproject.toml states it."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def bill() -> dict[str, Any]:
    """The whole bill of materials."""
    versions = locked()
    program = project()
    own = {"type": "application", "bom-ref": PROGRAM, "name": PROGRAM, "version": program["version"]}
    extras = program["optional-dependencies"]
    stated = [*program["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    packages = [component(name, version) for name, version in sorted(versions.items())]
    dependencies = [
        {"ref": reference(name, version), "dependsOn": needs(name, versions)}
        for name, version in sorted(versions.items())
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": own},
        "components": packages,
        "dependencies": [{"ref": PROGRAM, "dependsOn": references(stated, versions)}, *dependencies],
    }


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill(), indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{target.name}: {len(locked())} packages\n")
