"""Every number that a run may vary: one frozen record per part of it, each with its unit and reason."""

from collections.abc import Iterable
from dataclasses import dataclass, field

WITHOUT_NEAR_DUPLICATES = "_deduplicated"
"""How the name of a model ends that was trained a second time, without the near-duplicates of test images."""


def is_retrained(name: str, models: Iterable[str]) -> bool:
    """Whether a model is another of these models, trained again without near-duplicates of test images.

    >>> is_retrained("cnn_deduplicated", ["cnn", "cnn_deduplicated"])
    True
    >>> is_retrained("cnn_v2", ["cnn", "cnn_v2"])
    False
    """
    return name.removesuffix(WITHOUT_NEAR_DUPLICATES) in set(models) - {name}


@dataclass(frozen=True)
class OwnSettings:
    """How a table of a user's own images is read; docs/own-images.md says what each means."""

    image_column: str = "image"
    outcome_column: str = "outcome"
    positive: str = "1"  # value of the outcome column where the condition is present
    group_column: str | None = None  # patient; None = every image is independent
    split_column: str | None = None  # None = a split is made by group
    fit: str = "crop"  # crop: middle square, as BreastMNIST's makers cut it; top; pad
    bits: int = 16  # of deep images: 2**bits - 1 is white
    val_share: float = 0.1  # of the cases, where val is made; BreastMNIST's makers took as much
    test_share: float = 0.2  # the same for test


@dataclass(frozen=True)
class DataSettings:
    """What is loaded."""

    dataset: str = "auto"
    size: int = 28  # pixels per side; 28 is MedMNIST's own default, 64, 128 and 224 exist
    split: str = "official"  # official, deduplicated or grouped
    condition: str | None = None  # label that is the condition; needed where a set has more than two
    own: OwnSettings | None = None  # for a table of the user's own images
    site_column: str | None = None  # of own: each site is left out once; None = none is


@dataclass(frozen=True)
class AuditSettings:
    """How near-duplicates are told from different images."""

    threshold: float | None = None  # similarity; None = calibrated on the data


@dataclass(frozen=True)
class NetworkSettings:
    """How one member of the convolutional network learns; reasons and alternatives in docs/training.md."""

    epochs: int = 30  # passes over the images; 20 learn too little, 60 overfit in log loss
    most_steps: int = 10_000  # of a training; sets of more than 21,000 images get fewer epochs
    batch: int = 64  # images a step; a last smaller batch is left out of its epoch
    learning_rate: float = 4e-3  # highest step size, reached after the warm-up
    warm_up: float = 0.2  # share of the steps in which the step size rises from 0; a cosine to 0 follows
    weight_decay: float = 0.05  # on convolutions and the head, not on norms and biases
    label_smoothing: float = 0.05  # share of each label given to both classes; keeps risks calibrated
    shift: int = 2  # pixels of a 28 x 28 image that augmentation may move it; grows with the image
    average_decay: float = 0.98  # memory of the running average of the weights, per step
    patience: int = 20  # epochs without a better validation loss after which the guard stops
    strict_patience: int = 8  # the same for strict early stopping, which always keeps the best epoch


@dataclass(frozen=True)
class LogisticSettings:
    """How the logistic regression learns."""

    strengths: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # inverse penalties C to try
    folds: int = 5  # grouped folds inside the training split that choose among them
    iterations: int = 5000  # of the solver; not to converge in them is an error
    most: int = 5000  # cases that choose among the penalties; all cases fit the weights


@dataclass(frozen=True)
class ScatteringSettings:
    """How the support vector machine on scattering features learns."""

    penalty: float = 6.0  # the machine's C
    sharpness: tuple[float, ...] = (1.4, 0.7)  # of the kernels of orders 0 and 1 and of order 2; 1 is usual
    folds: int = 5  # grouped folds that give the decision values on which Platt scaling is fitted
    most: int = 5000  # cases that it learns from; the kernel grows with their square (200 MB)


@dataclass(frozen=True)
class TransferSettings(ScatteringSettings):
    """How the support vector machine on features of a pretrained network learns."""

    penalty: float = 3.0
    sharpness: tuple[float, ...] = (1.0, 1.0, 1.0)  # of the kernels of its three layers
    moves: tuple[int, ...] = (16, -16)  # pixels of 224 down by which copies of training images are moved


@dataclass(frozen=True)
class GivenModel:
    """A model that the user gave: its name, and the last part, SHA-256 and factory of where it comes from."""

    name: str
    file: str | None  # None for a factory that no file leads to, as one defined in a notebook
    sha256: str | None
    factory: str | None = None  # of a Python model; None for an ONNX file


@dataclass(frozen=True)
class TrainingSettings:
    """How the models learn."""

    models: tuple[str, ...] = ("logreg", "cnn", "scattering")  # what is trained; transfer is further
    given: tuple[GivenModel, ...] = ()  # the user's own
    seed: int = 0  # member k learns from seed + k
    members: int = 5  # grouped folds of the training split; each member leaves one of them out
    repeats: int = 1  # times that the split into folds is redrawn; members x repeats networks in all
    seeds: tuple[int, ...] | None = None  # one per network, instead of seed + k
    early_stopping: str = "guard"  # guard: ends a failing run; strict: keeps the best epoch; off
    device: str = "cpu"  # cpu, cuda or mps, for the networks
    network: NetworkSettings = field(default_factory=NetworkSettings)
    logistic: LogisticSettings = field(default_factory=LogisticSettings)
    scattering: ScatteringSettings = field(default_factory=ScatteringSettings)


@dataclass(frozen=True)
class StudySettings:
    """What a study trains: every combination of these, scored on grouped folds of train and val."""

    models: tuple[str, ...] = ("logreg", "cnn_single", "cnn", "scattering", "combined")
    seeds: tuple[int, ...] = (0,)  # each training is repeated with each; the scattering machine ignores them
    folds: int = 5  # grouped folds; each is held out once per repeat
    repeats: int = 2  # times that the folds are redrawn
    variants: tuple[str, ...] = (
        "official",
    )  # official; deduplicated: no near-duplicate of a test image in training
    fractions: tuple[float, ...] = (1.0,)  # share of each training part used, for the learning curve
    given: tuple[GivenModel, ...] = ()  # the user's own


@dataclass(frozen=True)
class BesideReaders:
    """Which columns of the table hold what readers said, and how models are set beside them."""

    readers: tuple[str, ...]  # columns; "BIRADS>=4" names the rating from which the reader acts
    order: tuple[str, ...] = ()  # categories, least suspicious first, where ratings are words
    category: tuple[str, ...] = ()  # in which the model may decide alone; none = the one at the cut
    margins: dict[str, float] = field(default_factory=dict)  # of non-inferiority, by measure
    prevalence: float | None = None  # for counts per 1,000; None = that of the cases scored
    acting_threshold: float | None = None  # risk at which one acts, such as .02 for a biopsy; for net benefit


@dataclass(frozen=True)
class EvaluationSettings:
    """How the table is scored."""

    level: float = 0.95  # coverage aimed at by every interval
    draws: int = 1000  # bootstrap resamples; 1,000 leaves about .005 of noise in a percentile
    seed: int = 0
    thresholds: tuple[float, ...] = ()  # further thresholds to report, 0 to 1; the first is the primary one
    primary: str | None = None  # model to speak of first; None = chosen out of fold on train
    threshold_rules: tuple[str, ...] = ()  # "sensitivity>=0.90@0.95": guaranteed by development data
    readers: BesideReaders | None = None  # columns with what readers said
    by_group: bool = False  # rank patients, too: the mean of the log odds of a patient's images


@dataclass(frozen=True)
class ValidationSettings:
    """How a finished run is applied to other patients; all it learnt stays as it was."""

    name: str  # of the external cohort, the population in every result; of several tables all together
    own: OwnSettings = field(default_factory=OwnSettings)
    matching: bool = True  # grey levels brought to those of the training images, one image at a time
    second_view: bool = True  # of an upright image the upper square counts as much as the middle one
    corruptions: bool = False  # score the cohort as worse scanners and archives would show it, too
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    attributes: tuple[str, ...] = ()  # columns to make subgroups of; none = all that can group cases
    skip_unreadable: bool = False  # score the images that can be used and list the others, not refuse all
    site_column: str | None = None  # where, or with which scanner, each image was taken
    sites: tuple[str, ...] = ()  # names of the tables where there are several, each of which is a site
    probes: bool = False  # rank by border, marks, size, aspect, focus and brightness of the picture, too


@dataclass(frozen=True)
class AdoptionSettings:
    """How a finished run is updated on labelled cases of one site; docs/methods/updating.md."""

    local: ValidationSettings  # how the local images are read and scored
    target: float = 0.9  # sensitivity that the local threshold is set for, between 0 and 1
    assurance: float | None = None  # probability that it is reached; None sets the threshold at the target
    update: str = "closed_testing"  # of the risks: nothing, intercept, ..., or head, head_shrunken
    folds: int = 5  # of the cross-fitting; 4/5 of the local cases fit, 1/5 score
    repeats: int = 20  # of the cross-fitting, in other folds


@dataclass(frozen=True)
class ReaderSettings:
    """How a study of several readers is analysed; docs/methods/readers.md says what each means."""

    design: str = "random"  # random (speaks for other readers and cases), fixed_readers or fixed_cases
    covariance: str = "delong"  # or jackknife, where not every reader read every case
    cut: float | None = None  # rating from which readers act; None leaves sensitivity and specificity out
    threshold: float | None = None  # from which the model flags; needed beside a cut
    margins: dict[str, float] = field(default_factory=dict)  # of non-inferiority, by measure
    power: float | None = None  # wanted of a planned study, between 0 and 1
    difference: float | None = None  # true difference in AUC that the planned study should find
    level: float = 0.95  # coverage aimed at by every interval


@dataclass(frozen=True)
class RunSettings:
    """All settings of one run: with the data they decide every number it writes."""

    data: DataSettings = DataSettings()
    audit: AuditSettings = AuditSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    probes: bool = False  # rank by border, marks, size, aspect, focus and brightness of the picture, too
