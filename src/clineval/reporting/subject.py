"""What a report speaks of: the primary model, its baseline and the populations."""

import math
from dataclasses import dataclass, field, replace

from clineval.evaluation import Evaluation, Primary
from clineval.evaluation.records import ModelComparison, OperatingPoint, PopulationScores
from clineval.statistics.intervals import Estimate

INTERNAL, EXTERNAL = "test", "external"  # in transport.json
CLEAN = "test_clean"
HEADLINE = ("logreg", "cnn")  # baseline and main model of files that declare no primary one
PREFERRED = ("given", "sensitivity_90", "half")  # the main threshold of files that declare none


@dataclass(frozen=True)
class Subject:
    """Which models and populations the report speaks of, in order.

    ``main`` is the primary model, ``baseline`` the model beside it.
    """

    evaluation: Evaluation
    main: str
    baseline: str | None
    population: str
    others: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    watched: tuple[str, ...] = field(default=())

    @property
    def condition(self) -> str:
        """The word for outcome 1."""
        return self.evaluation.condition

    @property
    def pair(self) -> tuple[str, ...]:
        """The primary model, then the baseline where there is one."""
        return (self.main,) if self.baseline is None else (self.main, self.baseline)

    def scores(self, model: str, population: str | None = None) -> PopulationScores | None:
        """One model on one population, the main one by default; None where it was not scored there."""
        return self.evaluation.models.get(model, {}).get(population or self.population)

    def models(self, population: str | None = None) -> list[str]:
        """Models scored on a population: the primary one, the baseline, then the others."""
        order = dict.fromkeys([*self.pair, *self.evaluation.models])
        return [name for name in order if self.scores(name, population) is not None]

    def point(self, model: str | None = None, population: str | None = None) -> OperatingPoint | None:
        """The primary threshold of a model, the primary one by default; None where it has none."""
        scores = self.scores(model or self.main, population)
        return None if scores is None else main_point(scores, self.evaluation.primary)


def main_point(scores: PopulationScores, primary: Primary | None = None) -> OperatingPoint | None:
    """The operating point that is spoken of first: the primary threshold, or a model's own of its kind."""
    there = [point for point in scores.operating_points if not math.isnan(point.threshold)]
    if primary is not None:
        kin = [point for point in there if point.chosen_on == primary.chosen_on]
        same = [point for point in kin if point.threshold == primary.threshold]
        if kin:
            return (same or kin)[0]
    return next((point for name in PREFERRED for point in there if point.name == name), None)


def subject_of(evaluation: Evaluation, *, main: str | None = None) -> Subject:
    """What the evaluation declares primary; of files of versions before that, the CNN beside its baseline.

    The main population is ``test`` where there is one.

    Parameters
    ----------
    main : the model to speak of first in files that declare none.
    """
    tested, watched = _populations(evaluation)
    population = "test" if "test" in tested else (tested or watched)[0]
    there = [name for name, by_population in evaluation.models.items() if population in by_population]
    wanted = evaluation.primary.model if evaluation.primary is not None else main or HEADLINE[1]
    first = wanted if wanted in there else there[min(1, len(there) - 1)]
    others = [name for name in dict.fromkeys([HEADLINE[0], *there]) if name in there and name != first]
    return Subject(
        evaluation,
        main=first,
        baseline=next(iter(others), None),
        population=population,
        others=tuple(name for name in tested if name == "test_clean"),
        external=tuple(name for name in tested if name not in (population, "test_clean")),
        watched=tuple(name for name in watched if name != population),
    )


def _populations(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    """Populations kept for testing, and those that were used before."""
    used = {
        name: scores.used_for
        for by_population in evaluation.models.values()
        for name, scores in by_population.items()
    }
    return [name for name in used if not used[name]], [name for name in used if used[name]]


def population_name(population: str) -> str:
    """A population in words, where it is one of the program's own."""
    return {
        "test_clean": "test_clean (no near-duplicate in train or val)",
        "train_out_of_fold": "train, out of fold",
    }.get(population, population)


def main_comparison(subject: Subject) -> ModelComparison | None:
    """Main model minus baseline in AUC on the main population."""
    wanted = {subject.main, subject.baseline}
    for each in subject.evaluation.comparisons:
        if each.measure == "auc" and each.population == subject.population and set(each.models) == wanted:
            return each if each.models[0] == subject.main else turned(each)
    return None


def turned(comparison: ModelComparison) -> ModelComparison:
    """The same comparison the other way round."""
    return replace(
        comparison,
        models=(comparison.models[1], comparison.models[0]),
        difference=negated(comparison.difference),
        statistic=-comparison.statistic,
    )


def negated(difference: Estimate) -> Estimate:
    """A difference taken the other way round."""
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low)
