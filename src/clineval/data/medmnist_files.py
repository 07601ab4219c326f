"""The official MedMNIST files: what is known of each, and where it is looked for."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from clineval.errors import InputError, option

SIZES = (28, 64, 128, 224)  # pixels per side
ADDRESS = "https://zenodo.org/records/10519652/files"
COLLECTION = "Yang et al. 2023, Scientific Data 10:41, doi:10.1038/s41597-022-01721-8"
ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
    "lung-right", "pancreas", "spleen",
)  # fmt: skip

UNWRITABLE = "the folder cannot be written"  # how such a cause begins


@dataclass(frozen=True)
class SetFacts:
    """What is known of one MedMNIST set.

    Attributes
    ----------
    labels : names of the labels 0, 1, 2...; of a multi-label set, of the columns.
    cases : images per split; ``events`` : those with ``condition``, where they were counted by us.
    md5, sha256 : of the official file per size in pixels; MD5 as published with the set, SHA-256 where
        a file was at hand, and then it is the one that is checked.
    condition : what the outcome is, where the set has two classes; empty where it must be asked for.
    channels : 1 grey, 3 red, green and blue.
    multi_label : every image has a yes or no in one column per label.
    """

    title: str
    labels: tuple[str, ...]
    cases: Mapping[str, int]
    md5: Mapping[int, str]
    source_images: str
    condition: str = ""
    events: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[int, str] = field(default_factory=dict)
    channels: int = 1
    multi_label: bool = False
    licence: str = "CC BY 4.0"
    address: str = ADDRESS

    @property
    def citation(self) -> str:
        """Whom to cite: the collection, and those who made the images."""
        return f"{COLLECTION}; source images: {self.source_images}"


def _splits(train: int, val: int, test: int) -> dict[str, int]:
    return {"train": train, "val": val, "test": test}


def _by_size(*checksums: str) -> dict[int, str]:
    return dict(zip(SIZES, checksums, strict=True))


SETS: Mapping[str, SetFacts] = {
    "breastmnist": SetFacts(
        title="BreastMNIST",
        labels=("malignant", "normal or benign"),
        condition="malignant",
        cases=_splits(546, 78, 156),
        events=_splits(147, 21, 42),
        md5=_by_size(
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ),
        sha256=_by_size(
            "3a22d2a4625e7dd8903f0f59030e81a3d0c222bece2e5e10927456cb50efdec1",
            "c18cdad0c6a4669aaedd761b2f278373eac3a5afe111e685165dc623c1a7b9ed",
            "9bc7bf4489ae1477439da8b0108a8c63164cf943fd4bd225b8fab075ea8f22ce",
            "833ebdedcee2fd9aec6e242b0c59af91410302d9b6247a012bd71af51ac867bb",
        ),
        source_images="Al-Dhabyani et al. 2020, Data in Brief 28:104863, doi:10.1016/j.dib.2019.104863",
    ),
    "pneumoniamnist": SetFacts(
        title="PneumoniaMNIST",
        labels=("normal", "pneumonia"),
        condition="pneumonia",
        cases=_splits(4708, 524, 624),
        md5=_by_size(
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ),
        source_images="Kermany et al. 2018, Cell 172:1122, doi:10.1016/j.cell.2018.02.010",
    ),
    "chestmnist": SetFacts(
        title="ChestMNIST",
        labels=(
            "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia",
            "pneumothorax", "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
        ),
        multi_label=True,
        cases=_splits(78468, 11219, 22433),
        md5=_by_size(
            "02c8a6516a18b556561a56cbdd36c4a8",
            "9de6cd0b934ebb5b7426cfba5efbae16",
            "db107e5590b27930b62dbaf558aebee3",
            "45bd33e6f06c3e8cdb481c74a89152aa",
        ),
        source_images="Wang et al. 2017, CVPR, doi:10.1109/CVPR.2017.369",
    ),
    "octmnist": SetFacts(
        title="OCTMNIST",
        labels=("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        cases=_splits(97477, 10832, 1000),
        md5=_by_size(
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ),
        source_images="Kermany et al. 2018, Cell 172:1122, doi:10.1016/j.cell.2018.02.010",
    ),
    "dermamnist": SetFacts(
        title="DermaMNIST",
        labels=(
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
            "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
            "vascular lesions",
        ),
        channels=3,
        cases=_splits(7007, 1003, 2005),
        md5=_by_size(
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ),
        licence="CC BY-NC 4.0",
        source_images="Tschandl et al. 2018, Scientific Data 5:180161, doi:10.1038/sdata.2018.161",
    ),
    "retinamnist": SetFacts(
        title="RetinaMNIST",
        labels=("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
        channels=3,
        cases=_splits(1080, 120, 400),
        md5=_by_size(
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ),
        source_images="Liu et al. 2022 (DeepDRiD), Patterns 3:100512, doi:10.1016/j.patter.2022.100512",
    ),
    "bloodmnist": SetFacts(
        title="BloodMNIST",
        labels=(
            "basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte",
            "neutrophil", "platelet",
        ),
        channels=3,
        cases=_splits(11959, 1712, 3421),
        md5=_by_size(
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ),
        source_images="Acevedo et al. 2020, Data in Brief 30:105474, doi:10.1016/j.dib.2020.105474",
    ),
    "pathmnist": SetFacts(
        title="PathMNIST",
        labels=(
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
            "normal colon mucosa", "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
        ),
        channels=3,
        cases=_splits(89996, 10004, 7180),
        md5=_by_size(
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ),
        source_images="Kather et al. 2019, PLOS Medicine 16:e1002730, doi:10.1371/journal.pmed.1002730",
    ),
    "tissuemnist": SetFacts(
        title="TissueMNIST",
        labels=(
            "collecting duct, connecting tubule", "distal convoluted tubule",
            "glomerular endothelial cells", "interstitial endothelial cells", "leukocytes", "podocytes",
            "proximal tubule segments", "thick ascending limb",
        ),
        cases=_splits(165466, 23640, 47280),
        md5=_by_size(
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ),
        source_images="Ljosa et al. 2012, Nature Methods 9:637 (BBBC051), doi:10.1038/nmeth.2083",
    ),
    "organamnist": SetFacts(
        title="OrganAMNIST",
        labels=ORGANS,
        cases=_splits(34561, 6491, 17778),
        md5=_by_size(
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ),
        source_images="Bilic et al. 2023 (LiTS), Medical Image Analysis 84:102680",
    ),
    "organcmnist": SetFacts(
        title="OrganCMNIST",
        labels=ORGANS,
        cases=_splits(12975, 2392, 8216),
        md5=_by_size(
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ),
        source_images="Bilic et al. 2023 (LiTS), Medical Image Analysis 84:102680",
    ),
    "organsmnist": SetFacts(
        title="OrganSMNIST",
        labels=ORGANS,
        cases=_splits(13932, 2452, 8827),
        md5=_by_size(
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ),
        source_images="Bilic et al. 2023 (LiTS), Medical Image Analysis 84:102680",
    ),
}  # fmt: skip


def set_facts(dataset: str, size: int) -> SetFacts:
    """The row of ``SETS`` for a data set that exists at ``size`` pixels; refuses any other name or size."""
    if dataset not in SETS:
        raise InputError(
            f"{option('--dataset')} needs auto, phantom or one of {', '.join(SETS)}; got {dataset!r}."
        )
    facts = SETS[dataset]
    if size not in SIZES:
        sizes = ", ".join(str(known) for known in SIZES)
        raise InputError(
            f"{option('--size')} needs one of {sizes} (pixels per side) for {dataset}; got {size!r}."
        )
    return facts


def file_name(dataset: str, size: int) -> str:
    """The official file's name: ``breastmnist.npz`` at 28 pixels, ``breastmnist_64.npz`` at 64."""
    return f"{dataset}.npz" if size == 28 else f"{dataset}_{size}.npz"


def cache_folder() -> Path:
    """Where a download is kept for this user; the folder need not exist yet."""
    return platformdirs.user_cache_path("clineval")


def search_folders() -> tuple[Path, ...]:
    """Where files are looked for, in order: ``$CLINEVAL_DATA``, ``./data``, ``~/.medmnist``, the cache."""
    named = os.environ.get("CLINEVAL_DATA", "")
    folders = [Path(os.path.expanduser(named))] if named else []
    if folders and folders[0].exists() and not folders[0].is_dir():
        raise InputError(
            f"CLINEVAL_DATA needs to name a folder; {named} is a file. Name the folder that holds it."
        )
    return (*folders, Path("data"), Path(os.path.expanduser("~/.medmnist")), cache_folder())


def find(dataset: str, *, size: int = 28, folders: Sequence[Path] | None = None) -> Path | None:
    """The first folder's file of that data set, or None where no folder has one."""
    set_facts(dataset, size)
    places = search_folders() if folders is None else folders
    candidates = (Path(folder) / file_name(dataset, size) for folder in places)
    return next((path for path in candidates if os.path.lexists(path)), None)


class Unavailable(InputError):
    """The data cannot be had. ``cause`` says why in a few words that hold no path."""

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause
