"""External images square by square and look by look: how the looks are named."""

from clineval.learning.matching import AS_IT_CAME, LOOKS
from clineval.pipeline.external_scores import further_looks, looks_in_words


def test_every_model_that_looks_further_is_named_and_the_network_sees_the_matched_image_mirrored():
    said = dict(part.split(": ") for part in looks_in_words().split("; "))
    assert said == {"logreg": "as it came, matched", "cnn": "as it came, matched and mirrored"}


def test_the_further_looks_are_all_but_the_image_as_it_came():
    assert set(further_looks()) == {name for names in LOOKS.values() for name in names} - {AS_IT_CAME}
