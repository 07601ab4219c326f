"""What the sections of a report say in sentences, made from its records."""

from collections.abc import Mapping
from typing import Any

from clineval.evaluation.record import PopulationScores, ScoredPoint
from clineval.reporting import wording
from clineval.reporting.artefacts import Artefacts
from clineval.reporting.failures import main_point
from clineval.reporting.subject import Subject, main_comparison
from clineval.reporting.wording import chosen_words, number


def answer(subject: Subject) -> list[str]:
    """The answer in three sentences, as far as the numbers allow them."""
    scores = subject.scores(subject.main)
    if scores is None:
        return []
    sentences = [_ranking(subject, scores)]
    pair = main_comparison(subject)
    if pair is not None:
        sentences.append(
            wording.difference(*pair.models, pair.difference, measure="AUC", p_value=pair.p_value)
        )
    point = main_point(scores)
    if point is not None:
        sentences.append(detection(subject.main, point, subject.condition))
    return sentences


def _ranking(subject: Subject, scores: PopulationScores) -> str:
    best = scores.measures.get("auc_logit") or scores.measures.get("auc")
    said = wording.discrimination(subject.main, best, condition=subject.condition)
    other = subject.scores(subject.baseline) if subject.baseline else None
    if other is None or not wording.defined(other.measures.get("auc_logit")):
        return said
    return f"{said[:-1]}; {subject.baseline} reaches {wording.with_interval(other.measures['auc_logit'])}."


def detection(model: str, point: ScoredPoint, condition: str) -> str:
    """What happens at one operating point, in counts first."""
    count = {name: int(value or 0) for name, value in point.counts.items()}
    return wording.detection(
        model,
        condition=condition,
        threshold=f"{number(point.threshold)} ({chosen_words(point)})",
        found=count["true_positives"],
        present=count["true_positives"] + count["false_negatives"],
        alarms=count["false_positives"],
        absent=count["false_positives"] + count["true_negatives"],
        sensitivity=point.rates["sensitivity"],
        specificity=point.rates["specificity"],
    )


def limits(subject: Subject, artefacts: Artefacts) -> list[str]:
    """What the page cannot tell, in sentences."""
    said = []
    scores = subject.scores(subject.main)
    if scores is not None and scores.adequacy is not None:
        sentence = scores.adequacy.sentence
        said.append(f"Judged by the AUC of {subject.main}: {sentence[0].lower()}{sentence[1:]}")
    twins = artefacts.audit.get("test_with_twin")
    if twins and scores is not None:
        said.append(
            f"The split leaks: {twins} of {scores.cases} test images have a near-duplicate in the "
            "data that the models learnt from; results without them stand beside as test_clean."
        )
    if not subject.external and not artefacts.transport:
        said.append(
            "No external cohort was scored, so nothing here says how the models do at another hospital."
        )
    return [*said, *(scores.notes if scores is not None else ()), *subject.evaluation.notes]


def polarity(subject: Subject, artefacts: Artefacts) -> dict[str, Any]:
    """Which label is the condition, with counts and example images of both classes."""
    scores = subject.scores(subject.main)
    labels, images = artefacts.source.get("labels") or [], artefacts.gallery.images
    examples = [
        {
            "name": each["name"], "label": each["label"], "outcome": each["outcome"],
            "images": [(case, images[case]) for case in each["cases"] if case in images],
        }
        for each in artefacts.gallery.examples
    ]  # fmt: skip
    return {"labels": labels, "examples": examples, "scores": scores}


def audit_facts(artefacts: Artefacts) -> dict[str, Any]:
    """What the audit found, in counts."""
    audit = artefacts.audit
    if not audit:
        return {}
    groups = audit.get("groups", [])
    return {
        "measure": audit.get("measure", ""),
        "threshold": number(audit.get("threshold")),
        "reason": audit.get("threshold_reason", ""),
        "second_look": audit.get("second_look", ""),
        "groups": len(groups),
        "images": sum(len(group["cases"]) for group in groups),
        "byte_identical": audit.get("byte_identical", []),
        "contradictory": audit.get("contradictory", []),
        "cross_split_pairs": audit.get("cross_split_pairs", 0),
        "test_with_twin": audit.get("test_with_twin", 0),
        "val_with_twin": audit.get("val_with_twin", 0),
        "test_clean": len(audit.get("test_clean", [])),
    }


def twin_cases(artefacts: Artefacts) -> set[str]:
    """Test cases that have a twin in development data."""
    groups = artefacts.audit.get("groups", [])
    clean = set(artefacts.audit.get("test_clean", []))
    return {case for group in groups for case in group["cases"] if case not in clean}


def frequency_sentences(subject: Subject, people: str) -> list[str]:
    """What the main operating point of the main model and of its baseline means for 1,000 people."""
    said = []
    for model in filter(None, (subject.baseline, subject.main)):
        scores = subject.scores(model)
        point = main_point(scores) if scores is not None else None
        if scores is None or point is None:
            continue
        cells = wording.frequencies(
            prevalence=scores.prevalence,
            sensitivity=point.rates["sensitivity"].value,
            specificity=point.rates["specificity"].value,
        )
        lead = f"{model} at threshold {number(point.threshold)}, with the condition as common as here"
        said.append(f"{lead}: {wording.natural(cells, people=people, condition=subject.condition)}")
    return said


def calibration_sentences(subject: Subject) -> list[str]:
    """What the calibration of each model allows one to say."""
    said = []
    for model in subject.models():
        scores = subject.scores(model)
        if scores is not None:
            slope, intercept = (scores.measures.get(f"calibration_{name}") for name in ("slope", "intercept"))
            said.append(wording.calibration(model, slope, intercept))
    return said


def utility_sentences(
    useful: Mapping[str, tuple[float, float] | None], harmful: Mapping[str, list[tuple[float, float]]]
) -> list[str]:
    """Where the interval of the net benefit lies above both plain strategies, and where below the better."""
    return [_useful(model, span) + _harmful(harmful.get(model, [])) for model, span in useful.items()]


def _useful(model: str, span: tuple[float, float] | None) -> str:
    if span is None:
        return f"{model}: at no threshold does its whole interval lie above flagging everyone and no one."
    return (
        f"{model}: its whole interval lies above flagging everyone and no one at thresholds "
        f"from {number(span[0], 2)} to {number(span[1], 2)}."
    )


def _harmful(spans: list[tuple[float, float]]) -> str:
    """What a reader must not overlook: where following the model is worse than having none."""
    if not spans:
        return ""
    where = wording.listed([_from_to(span) for span in spans])
    return (
        f" At thresholds {where} it lies wholly below the better of these two: there flagging everyone, or "
        "no one, does more good than following the model."
    )


def _from_to(span: tuple[float, float]) -> str:
    low, high = (number(end, 2) for end in span)
    return f"of {low}" if low == high else f"from {low} to {high}"
