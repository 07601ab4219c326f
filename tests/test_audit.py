import dataclasses
import json
import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from spoilt_images import with_artefacts

from clineval.data.audit import apply_split, audit, audit_images, case_names, deduplicated, grouped
from clineval.data.cohort import Cohort, Source
from clineval.data.duplicates import calibrate, working_images
from clineval.data.findings import KINDS, check_codes, counts, findings
from clineval.data.phantom import phantom, planted
from clineval.data.similarity import Alignment, find_pairs
from clineval.errors import InputError

SMALL = (60, 24, 30)
DOCS = Path(__file__).parents[1] / "docs"
MIXED_GROUPS = (  # of BreastMNIST at zero displacement and r >= .97
    {"train/18", "train/481", "test/7"},
    {"train/115", "test/76"},
    {"train/163", "test/149"},
    {"train/199", "test/44"},
    {"train/292", "train/325", "train/492"},
    {"val/24", "test/84"},
)


@pytest.fixture(scope="module")
def small():
    return phantom(3, cases=SMALL)


@pytest.fixture(scope="module")
def small_audit(small):
    return audit(small)


@pytest.fixture(scope="module")
def real_audit(real_breastmnist):
    return audit(real_breastmnist)


def unlike_images(count, *, seed=0):
    """Images that no audit should join: independent noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28)).astype(np.uint8)


def audit_of(images, **columns):
    count = len(images)
    given = {"case": np.array([f"case{row}" for row in range(count)]), "split": np.full(count, "all")}
    return audit_images(np.asarray(images), **{**given, **columns})


def named(pairs):
    return {frozenset(pair.cases) for pair in pairs}


# The phantom set: every planted pair and nothing else ------------------------------------------------


def test_every_planted_pair_is_found_and_no_other(small, small_audit):
    assert named(small_audit.pairs) == {
        frozenset((pair.original, pair.copy)) for pair in planted(3, cases=SMALL)
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_recall_and_precision_are_one_on_whole_phantom_sets(seed):
    found = audit(phantom(seed))
    assert named(found.pairs) == {frozenset((pair.original, pair.copy)) for pair in planted(seed)}
    assert found.threshold.origin == "gap"


def test_the_planted_contradiction_is_byte_identical_and_contradictory(small_audit):
    contradiction = planted(3, cases=SMALL)[0]
    assert {contradiction.original, contradiction.copy} in map(set, small_audit.byte_identical)
    assert [set(pair) for pair in small_audit.contradictory] == [{contradiction.original, contradiction.copy}]


def test_an_exhaustive_search_agrees_with_the_bounded_one_on_phantoms(small, small_audit):
    listed = find_pairs(small.images, 0.9)
    joined = {
        frozenset((str(small.case[i]), str(small.case[j])))
        for i, j in zip(listed.first, listed.second, strict=True)
    }
    assert joined <= named(small_audit.pairs)


# What follows from the pairs ------------------------------------------------------------------------


def test_groups_are_what_a_naive_walk_over_the_pairs_gives(small, small_audit):
    naive = {name: frozenset([name]) for name in small.case.tolist()}
    for pair in small_audit.pairs:
        union = naive[pair.cases[0]] | naive[pair.cases[1]]
        naive.update(dict.fromkeys(union, union))
    group_of = small_audit.group_of.tolist()
    for name, group in zip(small.case.tolist(), group_of, strict=True):
        assert naive[name] == {n for n, g in zip(small.case.tolist(), group_of, strict=True) if g == group}


def test_test_cases_are_clean_or_have_a_near_duplicate(small, small_audit):
    assert len(small_audit.test_clean) + small_audit.test_with_near_duplicate == SMALL[2]
    dirty = {name for pair in small_audit.pairs if pair.across_splits for name in pair.cases}
    assert not dirty & set(small_audit.test_clean)


def test_the_json_follows_the_contract_and_is_plain(small_audit):
    record = json.loads(json.dumps(small_audit.to_json(), allow_nan=False))
    assert set(record["groups"][0]) >= {"group", "cases", "outcomes", "similarity"}
    for key in ("cross_split_pairs", "test_with_twin", "val_with_twin"):
        assert isinstance(record[key], int)
    assert isinstance(record["threshold"], float)
    assert all(len(pair) == 2 for pair in record["byte_identical"] + record["contradictory"])
    assert all(name.startswith("test/") for name in record["test_clean"])
    assert record["search"] == "exact"


def test_the_same_cohort_gives_the_same_json(small, small_audit):
    assert audit(small).to_json() == small_audit.to_json()


def test_a_groups_similarity_is_that_of_its_least_similar_pair():
    image = phantom(0, cases=(8, 8, 8)).images[0].astype(float)
    noise = np.random.default_rng(0).normal(0, 1, (5, 28, 28))
    steps = [np.clip(image + 4 * noise[:k].sum(axis=0), 0, 255).astype(np.uint8) for k in range(6)]
    found = audit_of(steps, threshold=0.97)
    (group,) = found.groups
    direct = np.corrcoef(steps[0].ravel(), steps[-1].ravel())[0, 1]
    assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] >= 0.97 for a, b in pairwise(steps))
    assert group.least_similar == ("case0", "case5")
    assert group.similarity == pytest.approx(direct, abs=1e-4)  # four decimals are kept
    assert "AUD008" in counts(findings(found, np.stack(steps)))


def test_own_groups_are_joined_with_near_duplicates(small):
    patients = np.array([f"patient{row // 2}" for row in range(len(small))])
    found = audit(dataclasses.replace(small, group=patients))
    for i, j in combinations(range(len(small)), 2):
        if patients[i] == patients[j]:
            assert found.group_of[i] == found.group_of[j]
    for pair in found.pairs:
        assert found.group_of[pair.positions[0]] == found.group_of[pair.positions[1]]


def test_bare_case_names_that_repeat_are_made_unique():
    names = case_names(np.array(["1", "2", "1"]), np.array(["train", "train", "test"]))
    assert names.tolist() == ["train/1", "train/2", "test/1"]


def test_sensitivity_counts_fall_as_the_threshold_rises(small_audit):
    rows = small_audit.sensitivity
    assert [row.threshold for row in rows] == [0.95, 0.96, 0.97, 0.98, 0.99, 0.995]
    assert all(a.pairs >= b.pairs and a.images >= b.images for a, b in pairwise(rows))


# The threshold --------------------------------------------------------------------------------------


def test_a_given_threshold_is_applied_as_it_stands(small):
    found = audit(small, threshold=0.999)
    assert (found.threshold.value, found.threshold.origin, found.second_look) == (0.999, "given", False)
    assert all(pair.similarity >= 0.999 for pair in found.pairs)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(small, threshold):
    with pytest.raises(InputError, match="above 0 and at most 1"):
        audit(small, threshold=threshold)


def test_the_threshold_falls_into_the_gap_between_two_humps():
    rng = np.random.default_rng(0)
    without, pairs = rng.normal(1.3, 0.2, 400), rng.normal(2.9, 0.3, 200)
    found = calibrate(np.tanh(np.concatenate([without, pairs])))
    assert found.origin == "gap"
    assert 1.8 < np.arctanh(found.value) < 2.4
    assert "of 600 images" in found.reason


def test_without_a_second_hump_the_threshold_lies_far_above_the_first():
    found = calibrate(np.tanh(np.random.default_rng(0).normal(1.8, 0.15, 500)))
    assert found.origin == "fence"
    assert 2.1 < np.arctanh(found.value) < 2.6


def test_of_few_images_the_threshold_is_the_fallback():
    found = calibrate(np.array([0.2, 0.3, 0.99]))
    assert (found.value, found.origin) == (0.97, "fallback")


def test_where_detail_is_alike_in_all_images_no_second_look_is_taken():
    # one anatomy in all images, as in chest radiographs: detail agrees by about .6 without near-duplicates
    rng = np.random.default_rng(1)
    anatomy = rng.normal(0, 1, (28, 28))
    images = np.clip(127 + 30 * (anatomy + 0.75 * rng.normal(0, 1, (120, 28, 28))), 0, 255).astype(np.uint8)
    found = audit_of(images)
    assert not found.pairs


# Single images and kinds of finding -----------------------------------------------------------------


def test_spoilt_images_are_found_and_no_others(small):
    keep = [name for pair in planted(3, cases=SMALL) for name in (pair.original, pair.copy)]
    spoilt, artefacts = with_artefacts(small, keep=keep)
    every = findings(audit(spoilt), spoilt.images)
    code = {"blank": "AUD010", "saturated": "AUD011", "burnt-in text": "AUD012", "calipers": "AUD012"}
    found = {(finding.code, finding.cases[0]) for finding in every if "AUD010" <= finding.code <= "AUD012"}
    assert found == {(code[artefact.kind], artefact.case) for artefact in artefacts}


def test_every_code_has_a_severity_a_meaning_and_a_remedy():
    assert list(KINDS) == [f"AUD{number:03d}" for number in range(1, len(KINDS) + 1)]
    for kind in KINDS.values():
        assert kind.severity in {"error", "warning", "note"}
        assert kind.meaning.endswith(".")
        assert kind.remedy.endswith(".")


def test_the_documentation_explains_every_code_in_the_programs_own_words():
    text = (DOCS / "audit.md").read_text(encoding="utf-8")
    for kind in KINDS.values():
        assert f"| `{kind.code}` | {kind.severity} | {kind.title} | {kind.meaning} | {kind.remedy} |" in text
    assert set(re.findall(r"AUD\d{3}", text)) == set(KINDS)


def test_findings_name_the_pairs_of_each_kind(small, small_audit):
    every = findings(small_audit, small.images, own_group=small.group)
    of = {code: {frozenset(f.cases) for f in every if f.code == code} for code in KINDS}
    assert of["AUD001"] == {frozenset(pair) for pair in small_audit.contradictory}
    assert of["AUD006"] == {frozenset(pair) for pair in small_audit.byte_identical}
    crossing = of["AUD002"] | of["AUD003"] | of["AUD004"]
    assert crossing == named(pair for pair in small_audit.pairs if pair.across_splits)
    assert not of["AUD005"]
    assert [finding.code for finding in every] == sorted(finding.code for finding in every)


def test_a_patient_in_two_splits_is_a_finding():
    split = np.array(["train", "train", "test", "test"])
    patient = np.array(["a", "a", "a", "b"])
    images = unlike_images(4)
    found = audit_of(images, split=split, group=patient)
    (finding,) = [f for f in findings(found, images, own_group=patient) if f.code == "AUD005"]
    assert finding.cases == ("case0", "case1", "case2")
    assert found.test_with_near_duplicate == 1


def test_codes_are_checked_and_an_unknown_one_is_refused():
    assert check_codes(["aud001", " AUD002 "]) == ("AUD001", "AUD002")
    with pytest.raises(InputError, match=r"AUD001 to AUD016; got AUD999"):
        check_codes(["AUD001", "AUD999"])


# Odd input ------------------------------------------------------------------------------------------


def test_a_single_image_is_refused():
    with pytest.raises(InputError, match="at least two; got 1"):
        audit_of(unlike_images(1))


def test_images_too_small_to_displace_are_refused():
    with pytest.raises(InputError, match="at least 8 x 8 pixels; got 5 x 28"):
        audit_of(unlike_images(3)[:, :5])
    assert not audit_of(unlike_images(3)[:, :8, :8]).byte_identical


def test_images_that_are_all_the_same_form_one_group():
    found = audit_of(np.repeat(unlike_images(1), 30, axis=0))
    assert len(found.byte_identical) == 30 * 29 // 2
    assert [len(group.cases) for group in found.groups] == [30]
    assert found.groups[0].similarity == 1.0


def test_very_many_copies_of_one_image_are_listed_against_the_first():
    found = audit_of(np.repeat(unlike_images(1), 200, axis=0))
    assert len(found.byte_identical) == 199
    assert len(found.groups[0].cases) == 200


def test_blank_images_are_identical_but_correlate_with_nothing():
    images = np.concatenate([np.zeros((2, 28, 28), np.uint8), unlike_images(3)])
    found = audit_of(images)
    assert found.byte_identical == (("case0", "case1"),)
    assert found.groups[0].similarity == 1.0


def test_without_outcomes_nothing_contradicts(small):
    found = audit_of(small.images, split=small.split)
    assert found.contradictory == ()
    assert found.to_json()["groups"][0]["outcomes"] is None


def test_labels_in_words_contradict_each_other_too():
    image = unlike_images(1)[0]
    found = audit_of([image, image, image], outcome=np.array(["benign", "benign", "malignant"]))
    assert found.contradictory == (("case0", "case2"), ("case1", "case2"))


def test_large_images_are_compared_at_28_pixels():
    large = np.kron(unlike_images(3), np.ones((1, 4, 4))).astype(np.uint8)
    assert working_images(large).shape == (3, 28, 28)
    assert working_images(large[:, ::4, ::4]).shape == (3, 28, 28)


def test_a_large_image_and_its_displaced_mirror_image_are_near_duplicates():
    rng = np.random.default_rng(0)
    large = np.kron(rng.integers(0, 200, (30, 16, 16)), np.ones((1, 8, 8))).astype(np.uint8)
    moved = np.roll(large[0], 5, axis=1)[:, ::-1] + 20
    found = audit_of(np.concatenate([large, moved[None]]))
    assert named(found.pairs) == {frozenset(("case0", "case30"))}


# BreastMNIST ----------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("threshold", "groups", "images", "across", "mixed", "val", "test"),
    [(0.97, 139, 314, 86, 6, 31, 59), (0.98, 131, 293, 79, 5, 30, 53), (0.99, 106, 239, 61, 4, 22, 42)],
)
def test_plain_correlation_gives_the_published_counts(
    real_breastmnist, threshold, groups, images, across, mixed, val, test
):
    from clineval.data.audit import components, shares_group

    cohort = real_breastmnist
    found = find_pairs(cohort.images, threshold, over=[Alignment(0, 0, False)])
    component = components(np.stack([found.first, found.second], axis=1), len(cohort))
    members = [np.flatnonzero(component == number) for number in np.unique(component)]
    members = [rows for rows in members if len(rows) > 1]
    assert (len(members), sum(map(len, members))) == (groups, images)
    assert sum(len(set(cohort.split[rows])) > 1 for rows in members) == across
    assert sum(len(set(cohort.outcome[rows].tolist())) > 1 for rows in members) == mixed
    assert (cohort.within("val") & shares_group(component, cohort.split, "train")).sum() == val
    assert (cohort.within("test") & shares_group(component, cohort.split, "train", "val")).sum() == test


@pytest.mark.slow
@pytest.mark.real_data
def test_breastmnist_has_between_50_and_70_test_images_with_a_near_duplicate(real_audit):
    assert 50 <= real_audit.test_with_near_duplicate <= 70
    assert real_audit.threshold.origin == "gap"
    assert 0.96 <= real_audit.threshold.value <= 0.98


@pytest.mark.slow
@pytest.mark.real_data
def test_all_six_groups_of_mixed_labels_are_found(real_audit):
    mixed = [set(group.cases) for group in real_audit.groups if len(set(group.outcomes)) > 1]
    assert len(mixed) == 6
    for expected in MIXED_GROUPS:
        assert any(expected <= found for found in mixed)


@pytest.mark.real_data
def test_train_115_and_test_76_are_byte_identical_under_opposite_labels(real_audit):
    assert real_audit.byte_identical == (("train/115", "test/76"),)
    assert ("train/115", "test/76") in real_audit.contradictory
    assert "test/76" not in real_audit.test_clean


@pytest.mark.real_data
def test_the_note_on_breastmnist_states_what_the_audit_finds(real_audit):
    text = (DOCS / "breastmnist-audit.md").read_text(encoding="utf-8")
    groups = real_audit.groups
    rows = {
        "pairs of near-duplicates": len(real_audit.pairs),
        "groups (images in them)": f"{len(groups)} ({sum(len(group.cases) for group in groups)})",
        "groups that span more than one split": sum(len(set(group.splits)) > 1 for group in groups),
        "groups that hold both labels": sum(len(set(group.outcomes)) > 1 for group in groups),
        "pairs across splits": real_audit.cross_split_pairs,
        "test images with a near-duplicate in train or val": f"{real_audit.test_with_near_duplicate} of 156",
        "validation images with a near-duplicate in train": f"{real_audit.val_with_near_duplicate} of 78",
        "byte-identical pairs": len(real_audit.byte_identical),
    }
    for words, number in rows.items():
        assert f"| {words} | {number} |" in text
    for row in real_audit.sensitivity:
        counted = f"{row.groups} ({row.images}) | {row.groups_across_splits} | {row.groups_mixed_labels}"
        clean = f"{row.val_with_near_duplicate} | {row.test_with_near_duplicate}"
        assert f"| {row.threshold:g} | {row.pairs} | {counted} | {clean} |" in text


@pytest.mark.slow
@pytest.mark.real_data
def test_64_pixels_give_the_same_test_images_with_a_near_duplicate_as_28(real_audit, real_data_folder):
    from clineval.data import medmnist

    if not (real_data_folder / "breastmnist_64.npz").is_file():
        pytest.skip("real BreastMNIST at 64 pixels is not there: no breastmnist_64.npz beside the other")
    large = audit(medmnist.load("breastmnist", size=64, folders=[real_data_folder]))
    assert set(large.test_clean) == set(real_audit.test_clean)


def test_a_cohort_of_one_split_has_no_clean_test():
    images = unlike_images(5)
    cohort = Cohort(
        condition="malignant",
        images=images,
        outcome=np.array([True, False, True, False, True]),
        split=np.full(5, "clinic"),
        case=np.arange(5).astype(str),
        group=np.arange(5).astype(str),
        source=Source("clinic", "A clinic"),
    )
    found = audit(cohort)
    assert (found.test_clean, found.test_with_near_duplicate, found.val_with_near_duplicate) == ((), 0, 0)


def parted(cohort):
    """Groups that lie in more than one split."""
    return {g for g in cohort.group.tolist() if len(set(cohort.split[cohort.group == g].tolist())) > 1}


def test_the_official_split_keeps_every_case_and_takes_the_groups_of_the_audit(small, small_audit):
    same = apply_split(small, small_audit, "official")
    assert same.case.tolist() == small.case.tolist()
    assert same.split.tolist() == small.split.tolist()
    assert same.group.tolist() == small_audit.group_of.tolist()
    assert parted(same)


def test_deduplicated_parts_no_group_between_test_and_the_rest(small, small_audit):
    less = deduplicated(small, small_audit)
    test = set(less.group[less.within("test")].tolist())
    assert not test & set(less.group[~less.within("test")].tolist())


def test_deduplicated_keeps_test_whole_and_drops_only_cases_with_a_reason(small, small_audit):
    less = deduplicated(small, small_audit)
    assert less.within("test").sum() == SMALL[2]
    dropped = set(small.case.tolist()) - set(less.case.tolist())
    reasons = {
        n for pair in small_audit.pairs if "test" in pair.splits or pair.contradictory for n in pair.cases
    }
    assert dropped
    assert dropped <= reasons


def test_deduplicated_drops_both_images_of_a_contradiction_outside_test(small):
    images, split = small.images.copy(), small.split
    a, b = np.flatnonzero(split == "train")[:2]
    images[b] = images[a]
    outcome = small.outcome.copy()
    outcome[a], outcome[b] = True, False
    wrong = dataclasses.replace(small, images=images, outcome=outcome)
    less = deduplicated(wrong, audit(wrong))
    assert not {str(small.case[a]), str(small.case[b])} & set(less.case.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_grouped_parts_no_group_and_keeps_sizes_and_prevalence(small, small_audit, seed):
    redrawn = grouped(small, small_audit, seed=seed)
    assert not parted(redrawn)
    assert sorted(redrawn.case.tolist()) == sorted(small.case.tolist())
    for name, size in zip(("train", "val", "test"), SMALL, strict=True):
        here = redrawn.within(name)
        assert abs(here.sum() - size) <= 0.15 * size
        assert abs(redrawn.outcome[here].mean() - small.outcome.mean()) <= 0.05


def test_the_same_seed_gives_the_same_grouped_split_and_another_seed_another(small, small_audit):
    first, again, other = (grouped(small, small_audit, seed=seed).split.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_grouped_keeps_the_images_with_their_cases(small, small_audit):
    redrawn = grouped(small, small_audit)
    row = {name: position for position, name in enumerate(small.case.tolist())}
    for position, name in enumerate(redrawn.case.tolist()):
        assert np.array_equal(redrawn.images[position], small.images[row[name]])


def test_an_unknown_way_to_split_is_refused(small, small_audit):
    with pytest.raises(InputError, match="official, deduplicated, grouped; got 'random'"):
        apply_split(small, small_audit, "random")


def test_grouped_is_refused_without_the_three_splits(small):
    only = small.select(small.within("train"))
    with pytest.raises(InputError, match="needs a cohort of train, val and test; got train"):
        grouped(only, audit(only))


def test_grouped_is_refused_where_there_are_too_few_groups(small, small_audit):
    outcome = np.zeros(len(small), bool)
    outcome[:2] = True
    with pytest.raises(InputError, match="groups with and without the condition"):
        grouped(dataclasses.replace(small, outcome=outcome), small_audit)


@pytest.mark.slow
@pytest.mark.real_data
def test_breastmnist_deduplicated_and_grouped_keep_their_promises(real_breastmnist):
    found = audit(real_breastmnist)
    less = deduplicated(real_breastmnist, found)
    assert less.within("test").sum() == 156
    assert 60 <= 546 - less.within("train").sum() <= 90
    assert "train/115" not in less.case.tolist()
    redrawn = grouped(real_breastmnist, found, seed=0)
    assert not parted(redrawn)
    sizes = [int(redrawn.within(name).sum()) for name in ("train", "val", "test")]
    np.testing.assert_allclose(sizes, [546, 78, 156], atol=3)
