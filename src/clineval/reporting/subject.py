"""What a report speaks of: its main model and population, and what stands beside them."""

from dataclasses import dataclass, field, replace

from clineval.evaluation import Evaluation
from clineval.evaluation.records import ModelComparison, PopulationScores
from clineval.statistics.intervals import Estimate

HOME, ELSEWHERE = "test", "external"
SPOKEN = ("combined", "cnn")  # the first of these that is there is spoken of in sentences

HEADLINE = ("logreg", "cnn")  # baseline and main model, where a table has both


@dataclass(frozen=True)
class Subject:
    """Which models and populations the report speaks of, in order."""

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

    def scores(self, model: str, population: str | None = None) -> PopulationScores | None:
        """One model on one population, the main one by default; None where it was not scored there."""
        return self.evaluation.models.get(model, {}).get(population or self.population)

    def models(self, population: str | None = None) -> list[str]:
        """Models scored on a population."""
        return [name for name in self.evaluation.models if self.scores(name, population) is not None]


def subject_of(evaluation: Evaluation, *, main: str | None = None) -> Subject:
    """The main population is ``test`` where there is one; the main model the CNN beside its baseline.

    Parameters
    ----------
    main : another model to speak of first, beside the same baseline.
    """
    tested, watched = _populations(evaluation)
    population = "test" if "test" in tested else (tested or watched)[0]
    there = [name for name, by_population in evaluation.models.items() if population in by_population]
    pair: tuple[str, ...] = (HEADLINE[0], main or HEADLINE[1])
    if not all(name in there for name in pair):
        pair = tuple(there[:2])
    return Subject(
        evaluation,
        main=pair[-1],
        baseline=pair[0] if len(pair) == 2 else None,
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
        "test_clean": "test_clean (no twin in train or val)",
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
