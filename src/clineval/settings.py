"""Every number that a run may vary: one frozen record per room, each with its unit and reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSettings:
    """What is loaded."""

    dataset: str = "auto"
    size: int = 28  # pixels per side; 28 is MedMNIST's own default, 64, 128 and 224 exist
    split: str = "official"  # official, deduplicated or grouped


@dataclass(frozen=True)
class AuditSettings:
    """How near-duplicates are told from different images."""

    threshold: float | None = None  # similarity; None = calibrated on the data


@dataclass(frozen=True)
class TrainingSettings:
    """How the models learn."""

    seed: int = 0
    members: int = 5  # one per grouped fold


@dataclass(frozen=True)
class EvaluationSettings:
    """How the table is scored."""

    level: float = 0.95  # coverage aimed at by every interval
    draws: int = 1000  # bootstrap resamples; 1,000 leaves about .005 of noise in a percentile
    seed: int = 0
