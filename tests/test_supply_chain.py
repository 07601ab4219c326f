"""What the program is made of is pinned, listed, and built with no more rights than it needs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_reads_only_and_every_action_is_pinned_by_its_commit(path):
    text = path.read_text()
    assert re.search(r"^permissions:\n  contents: read\n(?! )", text, flags=re.M)
    assert "write" not in re.sub(r"#.*", "", text)
    assert "secrets." not in text
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in actions)
    assert text.count("persist-credentials: false") == sum(
        "actions/checkout@" in action for action in actions
    )


def test_every_locked_package_has_one_version():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines)


@pytest.mark.slow
def test_the_bill_of_materials_lists_the_lock_and_gives_the_same_bytes_again(tmp_path):
    for name in ("one", "two"):
        command = [sys.executable, str(ROOT / ".ci" / "sbom.py"), str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    bill = json.loads((tmp_path / "one").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    listed = {f"{each['name']}=={each['version']}" for each in bill["components"]}
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    assert listed == {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() + "==" + line.split("==")[1] for line in locked
    }
    known = {each["bom-ref"] for each in bill["components"]}
    needed = bill["dependencies"][0]["dependsOn"]
    assert any(reference.startswith("pkg:pypi/torch@") for reference in needed)
    assert all(set(each["dependsOn"]) <= known for each in bill["dependencies"])
