"""Duplicates in a folder by other tools at their defaults, one JSON line each; run by bench_audit.py."""

import itertools
import json
import sys
import tempfile
import time
from importlib.metadata import version


def pairs_of_groups(groups):
    return sorted(
        {tuple(sorted(map(str, pair))) for group in groups for pair in itertools.combinations(group, 2)}
    )


def pairs_of_map(duplicates):
    return sorted({tuple(sorted((name, other))) for name, others in duplicates.items() for other in others})


def by_imagededup(method):
    from imagededup import methods

    def find(folder):
        return pairs_of_map(getattr(methods, method)(verbose=False).find_duplicates(image_dir=folder))

    return find


def by_cleanvision(folder):
    from cleanvision import Imagelab

    lab = Imagelab(data_path=folder)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    return pairs_of_groups(
        group for kind in ("exact_duplicates", "near_duplicates") for group in lab.info[kind]["sets"]
    )


def by_fastdup(folder):
    import fastdup

    with tempfile.TemporaryDirectory() as work:
        job = fastdup.create(work_dir=work, input_dir=folder)
        job.run(overwrite=True, verbose=False)
        found = job.similarity()
    columns = (
        ["filename_from", "filename_to"]
        if "filename_from" in found
        else ["img_filename_from", "img_filename_to"]
    )
    strong = found[found["distance"] >= 0.96]  # its default ccthreshold, from which it joins images
    return sorted({tuple(sorted(pair)) for pair in strong[columns].itertuples(index=False)})


TOOLS = {
    "imagededup PHash": ("imagededup", by_imagededup("PHash")),
    "imagededup DHash": ("imagededup", by_imagededup("DHash")),
    "imagededup CNN": ("imagededup", by_imagededup("CNN")),
    "cleanvision": ("cleanvision", by_cleanvision),
    "fastdup": ("fastdup", by_fastdup),
}


def main(folder):
    for name, (package, find) in TOOLS.items():
        try:
            tool = f"{name} {version(package)}"
            start = time.perf_counter()
            pairs = find(folder)
            record = {"tool": tool, "seconds": time.perf_counter() - start, "pairs": pairs}
        except Exception as error:  # a tool that fails is a row of the table, whatever it raised
            record = {
                "tool": name,
                "error": f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}",
            }
        print("\n" + json.dumps(record), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
