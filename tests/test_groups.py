"""The laws of groups, over every interval of every record: found by walking the records, not by a list."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

import clineval.evaluation
import clineval.reporting
from clineval.evaluation.adoption import LocalHeads, StandardisedRisks, adopt
from clineval.evaluation.curves import curves
from clineval.evaluation.evaluate import evaluate
from clineval.evaluation.external import probe, transport
from clineval.evaluation.reader_study import ModelScores, analyse
from clineval.evaluation.records import Point, Primary, Scale
from clineval.evaluation.sites import over_sites
from clineval.files import to_plain
from clineval.predictions import check_predictions
from clineval.settings import (
    AdoptionSettings,
    BesideReaders,
    EvaluationSettings,
    ReaderSettings,
    ValidationSettings,
)
from clineval.statistics.intervals import Estimate
from clineval.tables.reader_study import ReadingColumns, ReadingTable

pytestmark = pytest.mark.slow

CASES = 160


@pytest.fixture(autouse=True, scope="module")
def _few_points():
    """Curves of model and reader together at a few thresholds: each has its intervals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clineval.evaluation.readers.STEPS", 4)
        yield


POINTS = (Point("half", 0.5, "fixed"), Point("sensitivity_90", 0.2, "train_out_of_fold"))


def widths(value: object, path: str = "") -> dict[str, list[float | None]]:
    """The width of every interval below a JSON value, of curves at each threshold, by its path."""
    if isinstance(value, dict) and value.get("design") != "fixed_cases":  # which has no groups of cases
        bounds = [(name, name.replace("low", "high")) for name in value if name in ("low", "gain_low")]
        found = {}
        for low, high in bounds:
            lows, highs = (each if isinstance(each, list) else [each] for each in (value[low], value[high]))
            found[f"{path}.{low}"] = [
                None if None in pair else pair[1] - pair[0] for pair in zip(lows, highs, strict=True)
            ]
        inner = (widths(each, f"{path}.{name}") for name, each in value.items())
        return found | {key: each for one in inner for key, each in one.items()}
    if isinstance(value, list):
        parts = (widths(each, f"{path}[{index}]") for index, each in enumerate(value))
        return {key: each for one in parts for key, each in one.items()}
    return {}


def cases_of(split: str, cases: int = CASES) -> pd.DataFrame:
    """Two models and two readers on the same cases, each case alone, with a column of two values."""
    rng = np.random.default_rng([3, len(split), cases])
    outcome = rng.random(cases) < 0.35
    signal = rng.normal(size=cases) + 1.8 * outcome - 1.5
    readings = {
        name: np.digitize(1.9 * outcome + rng.normal(size=cases), [-0.6, 0.5, 1.3, 2.2]) + 1
        for name in ("first", "second")
    }
    parts = [
        pd.DataFrame(
            {
                "model": model,
                "split": split,
                "case": [f"{split}/{number}" for number in range(cases)],
                "outcome": outcome.astype(int),
                "risk": expit(signal + noise * rng.normal(size=cases)),
                "device": np.arange(cases) % 2,
                **readings,
            }
        )
        for model, noise in (("logreg", 0.9), ("cnn", 0.3))
    ]
    return pd.concat(parts, ignore_index=True)


def tripled(table: pd.DataFrame) -> pd.DataFrame:
    """Each row three times under one group."""
    copies = [table.assign(case=table["case"] + f"/{copy}", group=table["case"]) for copy in "abc"]
    return pd.concat(copies, ignore_index=True)


def in_few(table: pd.DataFrame) -> pd.DataFrame:
    """The cases of a split in eight groups."""
    number = table["case"].str.split("/").str[1].astype(int)
    return table.assign(group=table["split"] + (number % 8).astype(str))


def whole(shape: Any) -> pd.DataFrame:
    return shape(pd.concat([cases_of(split) for split in ("train_out_of_fold", "test")], ignore_index=True))


@cache
def evaluation(shape: Any) -> Any:
    asked = BesideReaders(
        ("first>=3", "second>=4"), margins={"auc": 0.05, "sensitivity": 0.05}, acting_threshold=0.02
    )
    given = {"thresholds": [0.2, 0.45], "draws": 100, "readers": asked, "attributes": ["device"]}
    rules = ["sensitivity>=0.70@0.95", "specificity>=0.60@0.95"]
    return evaluate(whole(shape), threshold_rules=rules, by_group=True, **given)


@cache
def lines(shape: Any) -> Any:
    return curves(check_predictions(whole(shape)), evaluation(shape))


@cache
def external(shape: Any) -> Any:
    internal, other = (check_predictions(shape(cases_of(each))) for each in ("test", "elsewhere"))
    return transport(internal, other, points={"logreg": POINTS, "cnn": POINTS}, draws=100)


@cache
def sites(shape: Any) -> Any:
    table = shape(cases_of("elsewhere", 480))
    frame = check_predictions(table)
    number = table["case"].str.split("/").str[1].astype(int)
    return over_sites(
        frame,
        dict(zip(table["case"], "site" + (number % 4).astype(str), strict=True)),
        column="site",
        condition="malignant",
        points={"logreg": POINTS, "cnn": POINTS},
        primary=Primary("cnn", 0.2, "train_out_of_fold", ""),
        scale=Scale(draws=100),
    )


@cache
def adoption(shape: Any) -> Any:
    table = shape(cases_of("site"))
    table = check_predictions(table[table["model"] == "cnn"].reset_index(drop=True))
    features = np.column_stack([logit(table["risk"]), np.sin(5 * table["risk"]), np.ones(len(table))])
    return adopt(
        table,
        parent="results",
        development=check_predictions(shape(cases_of("train_out_of_fold"))),
        primary=Primary("cnn", 0.2, "train_out_of_fold", ""),
        condition="malignant",
        settings=AdoptionSettings(
            ValidationSettings("site", evaluation=EvaluationSettings(draws=100)), folds=3, repeats=1
        ),
        # Copies weigh as much more beside the penalty: less alike by as much they make the same head.
        heads=LocalHeads({"cnn": features @ features.T / (len(table) / CASES)}),
        standardised=StandardisedRisks(
            ("cnn",), {"cnn": expit(0.8 * logit(table["risk"].to_numpy()) + 0.1 * features[:, 1])}
        ),
    )


@cache
def reader_study(shape: Any) -> Any:
    table = shape(cases_of("test"))
    rng = np.random.default_rng(8)
    first = table[table["model"] == "cnn"]
    code = pd.factorize(first["case"].str.split("/").str[1])[0]
    parts = []
    for modality, gain in (("without", 0.0), ("with", 0.7)):
        for reader in "abcd":
            latent = (1.4 + gain) * first["outcome"].to_numpy() + rng.normal(size=CASES)[code]
            rating = np.digitize(latent, [-0.6, 0.5, 1.3, 2.2]) + 1.0
            parts.append(first.assign(reader=reader, modality=modality, rating=rating))
    long = pd.concat(parts, ignore_index=True)
    text = {name: long[name].to_numpy(str) for name in ("reader", "case", "modality")}
    readings = ReadingTable(
        name="study",
        rating=long["rating"].to_numpy(),
        outcome=long["outcome"].to_numpy() == 1,
        group=long["group"].to_numpy(str),
        columns=ReadingColumns(),
        row=lambda row: f"Row {row + 1}",
        **text,
    )
    settings = ReaderSettings(cut=3, threshold=0.4, margins={"auc": 0.05})
    model = ModelScores("cnn", first["case"].to_numpy(str), first["risk"].to_numpy())
    return analyse(readings, settings, condition="malignant", model=model)


@cache
def probes(shape: Any) -> Any:
    table = shape(cases_of("test"))
    table = table[table["model"] == "cnn"]
    number = pd.factorize(table["case"].str.split("/").str[1])[0]
    border = logit(table["risk"].to_numpy()) + np.random.default_rng(5).normal(size=CASES)[number]
    return probe(table["outcome"], table["risk"], {"border": border}, group=table["group"], draws=100)


def alone(table: pd.DataFrame) -> pd.DataFrame:
    """Each row once, a group of its own."""
    return table.assign(group=table["case"])


RECORDS = (evaluation, lines, external, sites, adoption, reader_study, probes)


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: each.__name__)
def test_no_interval_narrows_where_each_row_stands_three_times_under_one_group(record) -> None:
    before, after = (widths(to_plain(record(shape))) for shape in (alone, tripled))
    assert set(before) <= set(after)
    assert any(value for values in before.values() for value in values)
    for path, values in before.items():
        # How far sites differ is what the chance of each site leaves: less where that grows.
        if path.endswith((".tau.low", ".i_squared.low")):
            continue
        compared = [
            (a, b) for a, b in zip(values, after[path], strict=True) if a is not None and b is not None
        ]
        # Where the bootstrap leaves out thresholds at which nothing varies, it does so in both.
        assert len(compared) == len(values) - values.count(None), path
        narrow = [b / a for a, b in compared if a > 0.01]
        assert not narrow or np.median(narrow) > 0.85, (path, min(narrow))
        assert all(ratio > (0.85 if len(values) == 1 else 0.7) for ratio in narrow), (path, min(narrow))


WITH_FEW = (evaluation, lines, external, reader_study, probes)  # sites and adoption refuse so few groups


@pytest.mark.parametrize("record", WITH_FEW, ids=lambda each: each.__name__)
def test_fewer_than_ten_groups_give_no_interval_at_all(record) -> None:
    found = widths(to_plain(record(in_few)))
    given = {path: values for path, values in found.items() if any(value for value in values)}
    assert not given
    assert found


def visited(value: Any) -> Iterator[type]:
    """The types of all records below a record."""
    if dataclasses.is_dataclass(value):
        yield type(value)
        for each in dataclasses.fields(value):
            yield from visited(getattr(value, each.name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from visited(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from visited(each)


def with_intervals() -> set[type]:
    """Every record of the evaluation that holds an Estimate or bounds itself."""
    modules = [
        importlib.import_module(f"clineval.evaluation.{found.name}")
        for found in pkgutil.iter_modules(clineval.evaluation.__path__)
    ]
    records = {each for module in modules for _, each in inspect.getmembers(module, inspect.isclass)}
    return {
        each
        for each in records
        if dataclasses.is_dataclass(each)
        and each.__module__.startswith("clineval.evaluation")
        and not each.__name__.startswith("_")
        and (
            {"low", "gain_low"} & {one.name for one in dataclasses.fields(each)}
            or any("Estimate" in str(hint) for hint in get_type_hints(each).values())
        )
    }


def test_every_record_of_the_evaluation_that_holds_an_interval_is_walked_here() -> None:
    walked = {kind for record in RECORDS for kind in visited(record(tripled))}
    assert Estimate in walked
    assert with_intervals() - walked == set()


def test_the_report_takes_its_numbers_from_the_records() -> None:
    """Of statistics it uses records, names and whether a risk is flagged: no function that computes one."""
    taken = {
        (node.module, name.name)
        for path in Path(clineval.reporting.__path__[0]).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clineval.statistics")
        for name in node.names
    }
    functions = {
        name for module, name in taken if inspect.isfunction(getattr(importlib.import_module(module), name))
    }
    assert functions == {"flagged"}
