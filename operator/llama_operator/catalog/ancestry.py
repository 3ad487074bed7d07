"""Follows the lineage of a model over the catalog and the LlamaModels that exist: the one walk, with its guards.

Used by `catalog.additions` (what can be planned) and by `decide.license.lineage` (which licenses apply). Each says what it
makes of a model once it knows what it made of the ancestors.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from llama_operator.api.v1alpha1.llamamodel import Ancestor, LlamaModel
from llama_operator.catalog.models import Model
from llama_operator.catalog.registry import Catalog, UnknownModelError

_MOST_STEPS = 64
"""Longest lineage that is followed; a longer one is a mistake."""

_T = TypeVar("_T")

Above = tuple[tuple[Ancestor, _T | None], ...]
"""The declared ancestors, without repetition, each with its value; None for a name that nothing has."""


class Ancestry(Generic[_T]):
    """A value for every model, made from the values of its ancestors.

    Args:
        catalog: Built-in models. A LlamaModel cannot take the name of one.
        models: What administrators added.
        built_in: Makes the value of a built-in model.
        added: Makes the value of a LlamaModel.
        circle: Makes the value of a model whose lineage leads in a circle, from its name and the way there.
    """

    __slots__ = ("_added", "_built_in", "_catalog", "_circle", "_models", "_values")

    def __init__(
        self,
        catalog: Catalog,
        models: Iterable[LlamaModel],
        *,
        built_in: Callable[[Model], _T],
        added: Callable[[LlamaModel, Above[_T]], _T],
        circle: Callable[[str, str], _T],
    ) -> None:
        self._catalog = catalog
        self._models = {model.metadata.name: model for model in models}
        self._built_in = built_in
        self._added = added
        self._circle = circle
        self._values: dict[str, _T] = {}

    def of(self, name: str) -> _T | None:
        """Return the value of the model `name`; None when nothing has the name."""
        return self._of(name, ())

    def _of(self, name: str, path: tuple[str, ...]) -> _T | None:
        if name in path or len(path) > _MOST_STEPS:
            return self._circle(name, " -> ".join((*path, name)))
        try:
            return self._built_in(self._catalog.model(name))
        except UnknownModelError:
            model = self._models.get(name)
        if model is None:
            return None
        # Once for each model: after many merges there are more paths than any walk can follow. A model that a circle
        # leads to is refused, whichever way the walk came.
        if name not in self._values:
            declared = dict.fromkeys(model.spec.lineage.derived_from)
            above = tuple((step, self._of(step.model, (*path, name))) for step in declared)
            self._values[name] = self._added(model, above)
        return self._values[name]
