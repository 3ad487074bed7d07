"""The catalog as one value: look-ups, nearest names, and what it refuses to load."""

import re
from typing import Any

import pytest

from llama_operator.catalog import Catalog, CatalogError, UnknownModelError, load
from llama_operator.catalog.models import Model
from llama_operator.errors import LlamaOperatorError

BASE = load()


def changed(model_id: str, **update: Any) -> Model:
    return BASE.model(model_id).model_copy(update=update)


def catalog_with(*models: Model) -> Catalog:
    return Catalog(models=models, accelerators=BASE.accelerators, license_families=BASE.families)


def test_loading_twice_gives_the_same_value() -> None:
    assert load() is load()


def test_a_model_is_found_by_its_id() -> None:
    assert BASE.model("llama-3.3-70b-instruct").id == "llama-3.3-70b-instruct"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("llama-3.3-70b", "llama-3.3-70b-instruct"),
        ("Llama-3.1-405B", "llama-3.1-405b"),
        ("llama3-70b", "llama-3-70b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama-4-scout"),
        ("tiny_random_llama", "tiny-random-llama"),
    ],
)
def test_an_unknown_model_is_answered_with_what_was_probably_meant(asked: str, meant: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        BASE.model(asked)
    assert caught.value.nearest[0] == meant
    assert re.search(f"did you mean (name: )?{meant}", str(caught.value))
    assert BASE.nearest(asked) == caught.value.nearest


def test_an_unknown_model_is_both_an_error_of_ours_and_a_lookup_error() -> None:
    with pytest.raises(LookupError) as caught:
        BASE.model("gpt-2")
    assert isinstance(caught.value, LlamaOperatorError)


def test_nothing_is_near_an_empty_name() -> None:
    assert BASE.nearest("") == ()


def test_a_catalog_holds_no_attribute_that_can_be_set() -> None:
    with pytest.raises(AttributeError):
        BASE.models = ()  # type: ignore[misc]


def test_a_repeated_id_is_refused() -> None:
    model = BASE.model("llama-3.1-8b")
    with pytest.raises(CatalogError, match=r"model llama-3\.1-8b twice"):
        catalog_with(model, model)


def test_an_unknown_license_family_is_refused() -> None:
    with pytest.raises(CatalogError, match="unknown license family llama-9"):
        catalog_with(changed("llama-3.1-8b", license_families=("llama-9",)))


def test_a_derivative_without_its_ancestor_is_refused() -> None:
    with pytest.raises(CatalogError, match=r"derived from llama-3\.1-8b, which is no other model"):
        catalog_with(BASE.model("deepseek-r1-distill-llama-8b"))


def test_a_permissive_tag_never_removes_the_license_of_the_ancestor() -> None:
    washed = changed("deepseek-r1-distill-llama-8b", license_families=("mit",))
    with pytest.raises(CatalogError, match=r"keeps its ancestor's license, but llama-3\.1 is missing"):
        catalog_with(BASE.model("llama-3.1-8b"), washed)


def test_two_variants_of_one_precision_in_one_repository_are_refused() -> None:
    model = BASE.model("llama-3.1-8b")
    with pytest.raises(CatalogError, match=r"BF16 of meta-llama/Llama-3\.1-8B-Instruct twice"):
        catalog_with(changed("llama-3.1-8b", variants=(*model.variants, model.variants[0])))


def test_a_model_that_is_not_generated_needs_repositories() -> None:
    with pytest.raises(CatalogError, match="without repository"):
        catalog_with(changed("tiny-random-llama", generated=False))


def test_all_contradictions_are_named_at_once() -> None:
    broken = changed("llama-3.1-8b", license_families=("llama-8", "llama-9"))
    with pytest.raises(CatalogError) as caught:
        catalog_with(broken)
    assert len(caught.value.problems) == 2
