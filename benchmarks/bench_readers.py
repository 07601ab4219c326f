"""Whether the intervals of reader studies keep their level, and how long a large study takes.

Claims: over simulated studies of 5 readers and 114 cases, intervals for the difference of two modalities,
and of a model from the average reader, hold the truth in 93 to 96 %, by group too; a model that is worse by
exactly the margin is called non-inferior in at most 3 % (nominal 2.5 %);
20 readers, 1,000 cases and 2 modalities take under 5 s.

    python benchmarks/bench_readers.py --studies 2000 --out benchmarks/readers.md
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from clineval.statistics.auc import auc_difference_by_logit
from clineval.statistics.model_and_reader import at_cuts, non_inferiority
from clineval.statistics.readers import average_reader, compare_modalities, model_against_panel
from clineval.statistics.readings import Readings, reader_performance

MARGIN = 0.05
EVENTS, OTHERS = 45, 69  # of Van Dyke's study

# Variances of reader, modality by reader, case, modality by case, reader by case, and the rest, after Roe and
# Metz 1997, doi:10.1016/S1076-6332(97)80032-3: high or low correlation of ratings through the case (first
# letter), high or low variation between readers (second); the last are Van Dyke's, from its components.
STRUCTURES = {
    "HL": (0.0055, 0.0055, 0.3, 0.3, 0.2, 0.2),
    "LL": (0.0055, 0.0055, 0.1, 0.1, 0.2, 0.6),
    "HH": (0.03, 0.03, 0.3, 0.3, 0.2, 0.2),
    "LH": (0.03, 0.03, 0.1, 0.1, 0.2, 0.6),
    "Van Dyke": (0.068, 0.009, 0.3, 0.13, 0.13, 0.44),
}


@dataclass(frozen=True)
class SimulatedStudy:
    """Two modalities read by a panel, a model's scores of the same cases, and the true AUCs."""

    readings: Readings
    model: np.ndarray
    auc: tuple[float, float]
    model_auc: float


def simulated_study(
    seed,
    *,
    structure="HL",
    readers=5,
    events=EVENTS,
    others=OTHERS,
    auc=0.855,
    gain=0.0,
    model=0.0,
    together=1,
):
    """One study by Roe and Metz's model.

    Parameters
    ----------
    auc, gain : of the average reader with the first modality, and what the second adds.
    model : the model's AUC less that of the average reader with the first modality.
    together : images of a patient, of one outcome, which share three quarters of every case effect.
    """
    rng = np.random.default_rng(seed)
    of_reader, of_interaction, of_case, of_modality, of_both, rest = STRUCTURES[structure]
    outcome = np.arange(events + others) < events
    cases = len(outcome)
    spread = np.sqrt(2 * (1 + of_reader + of_interaction))
    signal = spread * ndtri([auc, auc + gain])

    group = np.concatenate([np.arange(events) // together, events + np.arange(others) // together])

    def effect(variance, *shape):
        return rng.normal(0, np.sqrt(variance), shape)

    def of_cases(variance, *shape):
        if together == 1:
            return effect(variance, *shape, cases)
        return effect(0.75 * variance, *shape, cases)[..., group] + effect(0.25 * variance, *shape, cases)

    # A reader's shift differs between cases with and without the condition: that is what moves the AUC.
    shift = effect(of_reader, 1, readers, 2) + effect(of_interaction, 2, readers, 2)
    shared = of_cases(of_case)
    score = shift[:, :, outcome.astype(int)] + shared + of_cases(of_modality, 2, 1)
    score = score + of_cases(of_both, 1, readers) + of_cases(rest, 2, readers)
    score = score + signal[:, None, None] * outcome
    names = [
        tuple(f"{letter}{i}" for i in range(n)) for letter, n in (("m", 2), ("r", readers), ("c", cases))
    ]
    alone = shared + of_cases(1 - of_case) + np.sqrt(2) * ndtri(auc + model) * outcome
    return SimulatedStudy(Readings(score, outcome, group, *names), alone, (auc, auc + gain), auc + model)


def first_modality(readings):
    """The first modality as a study of its own."""
    return replace(readings, rating=readings.rating[:1], modalities=readings.modalities[:1])


def holds(estimate, truth):
    return estimate.low <= truth <= estimate.high


def verdicts(seed, **setting):
    """Of one study: which intervals hold the truth, and whether the model is called non-inferior."""
    study = simulated_study(seed, **setting)
    performance = reader_performance(study.readings)
    (modalities,) = compare_modalities(performance).differences
    panel = first_modality(study.readings)
    found = model_against_panel(panel, study.model)
    against = found.difference
    by_jackknife = model_against_panel(panel, study.model, covariance="jackknife").difference
    average = average_reader(performance)[0].average
    return (
        holds(modalities.difference, study.auc[0] - study.auc[1]),
        holds(average, study.auc[0]),
        holds(against, study.model_auc - study.auc[0]),
        holds(by_jackknife, study.model_auc - study.auc[0]),
        bool(non_inferiority(against, margin=MARGIN, bound=found.bound).met),
    )


def by_group(seed):
    """Two images of each patient: which intervals hold the truth, with the groups and without."""
    study = simulated_study(seed, gain=0.05, model=-MARGIN, events=46, others=70, together=2)
    found = []
    for group in (study.readings.group, np.arange(len(study.readings.outcome))):
        readings = replace(study.readings, group=group)
        for covariance in ("delong", "jackknife"):
            (modalities,) = compare_modalities(
                reader_performance(readings, covariance=covariance)
            ).differences
            found.append(holds(modalities.difference, study.auc[0] - study.auc[1]))
            against = model_against_panel(first_modality(readings), study.model, covariance=covariance)
            found.append(holds(against.difference, study.model_auc - study.auc[0]))
    return found


def one_reader(seed, *, events=EVENTS, others=OTHERS):
    """A model worse than one reader by the margin in AUC, and in sensitivity at .85: called non-inferior?"""
    rng = np.random.default_rng(seed)
    outcome = np.arange(events + others) < events
    shared = np.sqrt(0.5) * rng.normal(size=len(outcome))
    reader, model = (shared + np.sqrt(0.5) * rng.normal(size=len(outcome)) for _ in range(2))
    aucs = (reader + np.sqrt(2) * ndtri(0.9) * outcome, model + np.sqrt(2) * ndtri(0.9 - MARGIN) * outcome)
    # At a cut of 0, the shift for a sensitivity of .85 and .80.
    rates = (reader + ndtri(0.85) * outcome, model + ndtri(0.85 - MARGIN) * outcome)
    given = {"threshold": 0.0, "cut": 0.0}
    by_auc = auc_difference_by_logit(outcome, aucs[1], aucs[0])
    by_rate = at_cuts(outcome, rates[1], rates[0], **given).rates.sensitivity.difference
    return tuple(bool(non_inferiority(each, margin=MARGIN).met) for each in (by_auc, by_rate))


def seconds():
    """Time of 20 readers, 1,000 cases, 2 modalities, by DeLong and by jackknife."""
    study = simulated_study(0, readers=20, events=400, others=600)
    taken = []
    for covariance in ("delong", "jackknife"):
        start = time.perf_counter()
        compare_modalities(reader_performance(study.readings, covariance=covariance))
        taken.append(time.perf_counter() - start)
    return taken


def report(studies):
    yield "# Reader studies: coverage and speed"
    yield ""
    error, small = (np.sqrt(share * (1 - share) / studies) for share in (0.95, 0.025))
    yield (
        f"{EVENTS} events of {EVENTS + OTHERS} cases, 5 readers, {studies:,} simulated studies a row (Roe "
        f"and Metz), level .95 (standard error of a share near it {error:.3f}, near .025 {small:.3f}). "
        "The model is worse than the average reader by the margin of .05. "
        f"`python benchmarks/bench_readers.py --studies {studies}`, numpy {np.__version__}."
    )
    yield ""
    yield (
        "| structure | AUC | modality gain | difference of modalities | average reader "
        "| model against panel | by jackknife | called non-inferior |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for structure in STRUCTURES:
        settings = ((0.897, 0.044),) if structure == "Van Dyke" else ((0.855, 0.05), (0.702, 0.0))
        for auc, gain in settings:
            setting = {"structure": structure, "auc": auc, "gain": gain, "model": -MARGIN}
            shares = np.mean([verdicts(seed, **setting) for seed in range(studies)], axis=0)
            yield f"| {structure} | {auc} | {gain} | " + " | ".join(f"{share:.3f}" for share in shares) + " |"
    yield ""
    held = np.mean([by_group(seed) for seed in range(studies)], axis=0).reshape(4, 2)
    yield "| two images a patient | difference of modalities | model against panel |"
    yield "|---|---|---|"
    names = ("by group, DeLong", "by group, jackknife", "no groups, DeLong", "no groups, jackknife")
    for name, shares in zip(names, held, strict=True):
        yield f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares) + " |"
    yield ""
    by_auc, by_rate = np.mean([one_reader(seed) for seed in range(studies)], axis=0)
    yield (
        f"Against one reader of AUC .90 (sensitivity .85), a model worse by the margin of .05 is called "
        f"non-inferior in {by_auc:.3f} by AUC, in {by_rate:.3f} by sensitivity."
    )
    yield ""
    delong, jackknife = seconds()
    yield (
        f"20 readers, 1,000 cases, 2 modalities: {delong:.2f} s by DeLong, {jackknife:.2f} s by jackknife."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    for line in report(options.studies):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
