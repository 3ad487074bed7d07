"""The lines that licenses ask for, word by word: what the pods show is compared with a copy that was read beside the licenses.

`legal_lines.yaml` is not rewritten by `make golden`: a change of a line is a change of the law, to be made by hand, twice.
"""

from pathlib import Path

import pytest
import yaml

from llama_operator import catalog
from llama_serving.config import LicenseDuties, LicenseFamilyDuties
from llama_serving.licenses.pages import model_metadata

LINES = yaml.safe_load(Path(__file__).with_name("legal_lines.yaml").read_text(encoding="utf-8"))
FAMILIES = catalog.load().families


def shown(family):
    """What the pods of a model of only this family show."""
    duties = LicenseDuties(
        tier=family.tier,
        families=(
            LicenseFamilyDuties(
                id=family.id,
                title=family.title,
                attribution=family.attribution,
                name_prefix=family.name_prefix,
                notice=family.notice,
                output_use=family.output_use,
            ),
        ),
    )
    license_ = model_metadata("any", duties)["license"]
    (only,) = license_["families"]
    return {
        "title": only["title"],
        "attribution": only["attribution"],
        "notice": only["notice"],
        "namePrefix": family.name_prefix,
        "outputUse": only["outputUse"],
        "outputTerms": only["outputTerms"],
        "header": license_["outputTerms"],
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.id)
def test_what_is_shown_of_a_license_is_the_committed_copy(family):
    assert shown(family) == LINES[family.id]


def test_there_is_a_copy_of_every_family_and_no_other():
    assert set(LINES) == {family.id for family in FAMILIES}
