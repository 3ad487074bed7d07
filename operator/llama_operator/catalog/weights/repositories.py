"""Which entry of the catalog a repository of the Hugging Face Hub means, or a name that looks like one. Pure.

Called by `catalog.registry` for names that are no entry, by `decide.plan.variants` for repositories that no variant has, and by
the command line for names that the API does not allow.
"""

from collections.abc import Iterable, Iterator

from llama_operator.catalog.models import Model, Variant


def meant(name: str, models: Iterable[Model]) -> str:
    """Say what to write into spec.model instead of `name`; empty if no entry has such a repository.

    Args:
        name: A repository, `owner/name`, or the name of one without its owner, in any letter case.
        models: Entries of the catalog.
    """
    models = tuple(models)
    if (left_out := _left_out(name, models)) is not None:
        return left_out
    if (found := _found(name, models)) is None:
        return ""
    model, variant = found
    if variant is None:
        return f"did you mean name: {model.id}?"
    if _is(name, variant):
        return f"did you mean {_written(model, variant)}?"
    owner = name.rpartition("/")[0]
    same = not owner or (variant.repository or "").startswith(f"{owner}/")
    other = "" if same else " A copy that somebody else published is added as a LlamaModel"
    return f"did you mean {_written(model, variant)}, with the weights of {variant.repository}?{other}"


def entry_meant(name: str, models: Iterable[Model]) -> Model | None:
    """Return the entry that has a repository of this name; None if none has. Arguments as of `meant`."""
    found = _found(name, tuple(models))
    return None if found is None else found[0]


def why_left_out(repository: str, model: Model) -> str:
    """Say why a repository of `model` is no variant; empty if nothing is known about it."""
    known = (each for each in model.excluded if each.repository.casefold() == repository.casefold())
    return next((each.reason for each in known), "")


def plain(name: str) -> str:
    """Return a name without its owner and without what publishers put before it, in lower case."""
    return name.rpartition("/")[2].casefold().replace("_", "-").removeprefix("meta-").removeprefix("nvidia-")


def _left_out(name: str, models: Iterable[Model]) -> str | None:
    for model in models:
        if reason := why_left_out(name, model):
            return f"{name} is not served: {reason} Its model is name: {model.id}"
    return None


def _variants(models: Iterable[Model]) -> Iterator[tuple[Model, Variant]]:
    return ((model, variant) for model in models for variant in model.variants)


def _found(name: str, models: tuple[Model, ...]) -> tuple[Model, Variant | None] | None:
    """The entry of this name and letter case, or the one with the repository, or else with a repository that is called so."""
    by_id = next((model for model in models if model.id == plain(name)), None)
    if by_id is not None and "/" not in name:
        return by_id, None
    whole = next((found for found in _variants(models) if _is(name, found[1])), None)
    return whole or next(
        (found for found in _variants(models) if plain(found[1].repository or "") == plain(name)), None
    )


def _is(name: str, variant: Variant) -> bool:
    return (variant.repository or "").casefold() == name.casefold()


def _written(model: Model, variant: Variant) -> str:
    """The fields of spec.model that mean a variant."""
    if variant is model.variants[0]:
        return f"name: {model.id}"
    if variant is model.default_variant(variant.precision):
        return f"name: {model.id} with precision: {variant.precision}"
    return f"name: {model.id} with variant: {variant.repository}"
