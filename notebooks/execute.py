"""Run every notebook from a clean kernel in this folder; exit 1 where a cell fails. Keep outputs: --write."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parent


def main(write: bool) -> int:
    """Execute the notebooks in their order; return the exit code."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        print(f"running {path.name}", flush=True)
        try:
            NotebookClient(notebook, timeout=600, resources={"metadata": {"path": FOLDER}}).execute()
        except CellExecutionError as error:
            print(f"{path.name} failed:\n{error}", file=sys.stderr)
            return 1
        if write:
            nbformat.write(_without_traces(notebook), path)
    return 0


def _without_traces(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook less times and warnings, which name folders of the machine that ran it."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
