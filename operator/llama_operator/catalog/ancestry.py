"""Follows the lineage of a model over the catalog and the LlamaModels that exist: the one walk, with its guards.

Used by `catalog.additions` (what can be planned) and by `decide.license.lineage` (which licenses apply). Each says what it
makes of a model once it knows what it made of the ancestors.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from typing_extensions import override

from llama_operator.api.v1alpha1.llamamodel import Ancestor, LlamaModel
from llama_operator.catalog.models import Model
from llama_operator.catalog.registry import Catalog

_MOST_STEPS: Final = 64
"""Longest lineage that is followed; a longer one is a mistake."""

_T = TypeVar("_T")

Above = tuple[tuple[Ancestor, _T | None], ...]
"""The declared ancestors, without repetition, each with its value; None for a name that nothing has."""


class Said:
    """LlamaModels as the key of a cache: two are equal if they say the same of models of the same names.

    Args:
        models: What administrators added.
    """

    __slots__ = ("_said", "models")

    def __init__(self, models: Iterable[LlamaModel]) -> None:
        self.models = tuple(models)
        self._said = tuple((model.metadata.name, model.spec) for model in self.models)

    @override
    def __eq__(self, other: object) -> bool:
        """Whether names and specs are equal; status changes often, and nothing here depends on it."""
        return isinstance(other, Said) and self._said == other._said

    @override
    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self._said)


@dataclass(slots=True)
class _Visit(Generic[_T]):
    """A LlamaModel on the way: its ancestors are looked at one after the other."""

    model: LlamaModel
    left: Iterator[str]
    circles: dict[str, _T] = field(default_factory=dict)
    """Ancestors that lead back to it."""


class Ancestry(Generic[_T]):
    """A value for every model, made from the values of its ancestors.

    Each model is looked at once, whichever and however many ways lead to it: after many merges there are more ways than
    any walk can follow. What is asked first changes no value.

    Args:
        catalog: Built-in models. A LlamaModel cannot take the name of one.
        models: What administrators added.
        built_in: Makes the value of a built-in model.
        added: Makes the value of a LlamaModel.
        circle: Makes the value of a model whose lineage leads in a circle or is too long, from its name and the way.
    """

    __slots__ = ("_added", "_built_in", "_circle", "_models", "_packaged", "_steps", "_values")

    def __init__(
        self,
        catalog: Catalog,
        models: Iterable[LlamaModel],
        *,
        built_in: Callable[[Model], _T],
        added: Callable[[LlamaModel, Above[_T]], _T],
        circle: Callable[[str, str], _T],
    ) -> None:
        self._packaged = {model.id: model for model in catalog.models}
        self._models = {model.metadata.name: model for model in models if model.metadata.name not in self._packaged}
        self._built_in = built_in
        self._added = added
        self._circle = circle
        self._values: dict[str, _T] = {}
        self._steps: dict[str, int] = {}

    def of(self, name: str) -> _T | None:
        """Return the value of the model `name`; None when nothing has the name."""
        way = {name: self._visit(name)} if name in self._models and name not in self._values else {}
        while way:
            current, visit = next(reversed(way.items()))
            above = next(visit.left, None)
            if above is None:
                self._values[current] = self._finish(visit)
                del way[current]
            elif above in way:
                visit.circles[above] = self._circle(above, _way_around(tuple(way), above))
            elif above in self._models and above not in self._values:
                way[above] = self._visit(above)
        return self._value(name)

    def _visit(self, name: str) -> _Visit[_T]:
        model = self._models[name]
        return _Visit(model, iter(dict.fromkeys(step.model for step in model.spec.lineage.derived_from)))

    def _finish(self, visit: _Visit[_T]) -> _T:
        """The value of a model of whose ancestors all are known."""
        name, declared = visit.model.metadata.name, dict.fromkeys(visit.model.spec.lineage.derived_from)
        steps = 1 + max((self._steps.get(step.model, 0) for step in declared), default=0)
        self._steps[name] = steps
        if steps > _MOST_STEPS:
            return self._circle(name, f"{name} is {steps} steps long, and at most {_MOST_STEPS} are followed")
        return self._added(
            visit.model,
            tuple((step, visit.circles.get(step.model) or self._value(step.model)) for step in declared),
        )

    def _value(self, name: str) -> _T | None:
        packaged = self._packaged.get(name)
        return self._values.get(name) if packaged is None else self._built_in(packaged)


def _way_around(way: tuple[str, ...], first: str) -> str:
    """A circle as people read it, from the same model on whichever of its models was asked for."""
    circle = way[way.index(first) :]
    start = circle.index(min(circle))
    turned = (*circle[start:], *circle[:start])
    return " -> ".join((*turned, turned[0]))
