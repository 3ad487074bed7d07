"""The catalog as one value: look-ups by name, errors that suggest similar names, and the checks across data files.

Every entry point calls `load` and passes the result on; `decide` looks everything up here. The data files are
read and validated once per process, in a few milliseconds: the command line answers in less than 300.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TypeVar

from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.devices import Devices, devices_of
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.models import Model, Variant
from llama_operator.catalog.packaged import packaged
from llama_operator.catalog.weights.repositories import entry_meant, meant, plain
from llama_operator.errors import LlamaOperatorError

_MOST_SUGGESTIONS = 3

_T = TypeVar("_T")


class UnknownNameError(LlamaOperatorError, LookupError):
    """The catalog has nothing of that name.

    Attributes:
        name: The name that was looked up.
        nearest: Similar names, best first; may be empty.
    """

    kind = "entry"

    def __init__(self, name: str, known: Iterable[str], meant: str = "") -> None:
        choices = tuple(known)
        self.name = name
        self.nearest = _nearest(name, choices)
        advice = f"did you mean {' or '.join(self.nearest)}?" if self.nearest else f"known are {', '.join(choices)}"
        super().__init__(f"unknown {self.kind} {name!r}; {meant or advice}")


class UnknownModelError(UnknownNameError):
    """The catalog has no such model."""

    kind = "model"


class UnknownAcceleratorError(UnknownNameError):
    """The catalog has no such accelerator."""

    kind = "accelerator"


class UnknownLicenseError(UnknownNameError):
    """The catalog has no such license family."""

    kind = "license family"


class CatalogError(LlamaOperatorError):
    """The data files contradict each other: a defect of the package, or of an addition to it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("the catalog contradicts itself: " + "; ".join(self.problems))


class Catalog:
    """Models, accelerators and license families. Immutable; build another one to add to it.

    Raises:
        CatalogError: If ids repeat or a reference leads nowhere.
    """

    __slots__ = ("_accelerators", "_families", "_models")

    def __init__(
        self,
        *,
        models: Iterable[Model],
        accelerators: Iterable[Accelerator],
        license_families: Iterable[LicenseFamily],
    ) -> None:
        models, accelerators, license_families = tuple(models), tuple(accelerators), tuple(license_families)
        self._models: Mapping[str, Model] = {model.id: model for model in models}
        self._accelerators: Mapping[str, Accelerator] = {a.name: a for a in accelerators}
        self._families: Mapping[str, LicenseFamily] = {family.id: family for family in license_families}
        problems = [
            *_repeated("model", (model.id for model in models)),
            *_repeated("accelerator", (accelerator.name for accelerator in accelerators)),
            *_repeated("license family", (family.id for family in license_families)),
            *(problem for model in models for problem in self._contradictions(model)),
        ]
        if problems:
            raise CatalogError(problems)

    @property
    def models(self) -> tuple[Model, ...]:
        """All models, in the order of their ids."""
        return tuple(self._models.values())

    @property
    def accelerators(self) -> tuple[Accelerator, ...]:
        """All accelerators, in the order of their names."""
        return tuple(self._accelerators.values())

    @property
    def families(self) -> tuple[LicenseFamily, ...]:
        """All license families, in the order of their ids."""
        return tuple(self._families.values())

    @property
    def accelerator_names(self) -> tuple[str, ...]:
        """Names of all accelerators."""
        return tuple(self._accelerators)

    def model(self, model_id: str) -> Model:
        """Return the model with this id.

        Raises:
            UnknownModelError: With the nearest ids.
        """
        try:
            return self._models[model_id]
        except KeyError:
            raise UnknownModelError(model_id, self._models, meant(model_id, self.models)) from None

    def meant(self, name: str) -> str:
        """Say which model a repository of the Hub means, or a name that looks like one; empty if that is not known."""
        return meant(name, self.models)

    def entry_meant(self, name: str) -> Model | None:
        """Return the model that a repository of the Hub means, or a name that looks like one; None if that is not known."""
        return entry_meant(name, self.models)

    def accelerator(self, name: str) -> Accelerator:
        """Return the accelerator of this name.

        Raises:
            UnknownAcceleratorError: With the nearest names.
        """
        return _look_up(self._accelerators, name, UnknownAcceleratorError)

    def license_family(self, family_id: str) -> LicenseFamily:
        """Return the license family with this id.

        Raises:
            UnknownLicenseError: With the nearest ids.
        """
        return _look_up(self._families, family_id, UnknownLicenseError)

    def license_families(self, model: Model, variant: Variant | None = None) -> tuple[LicenseFamily, ...]:
        """Families whose duties apply together to `model`, and to this copy of it if `variant` is given.

        Raises:
            UnknownLicenseError: If a model that is not of this catalog names an unknown family.
        """
        ids = model.license_families + (variant.license_families if variant is not None else ())
        return tuple(self.license_family(family_id) for family_id in dict.fromkeys(ids))

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return model ids that look like `name`, best first: at most three, or none."""
        return _nearest(name, self._models)

    def devices(self, labels: Mapping[str, str], resources: Iterable[str] | Mapping[str, int]) -> Devices | None:
        """Return the accelerators of a node with these labels and resources, or their amounts; None for one that is only a CPU."""
        return devices_of(labels, resources, self._accelerators.values())

    def with_accelerators(self, added: Iterable[Accelerator]) -> "Catalog":
        """Return a catalog that has `added` too, and knows nodes by them first; the same one if nothing is added.

        One whose name is taken is left out.
        """
        new = {card.name: card for card in added if card.name not in self._accelerators}
        if not new:
            return self
        # Every pass asks for one: models and licenses have been judged already, and cards refer to neither.
        wider = object.__new__(Catalog)
        wider._models, wider._families = self._models, self._families
        wider._accelerators = {**new, **self._accelerators}
        return wider

    def _contradictions(self, model: Model) -> Iterator[str]:
        for family in dict.fromkeys(
            model.license_families + tuple(f for v in model.variants for f in v.license_families)
        ):
            if family not in self._families:
                yield f"{model.id}: unknown license family {family}"
        yield from _repeated(f"{model.id}:", (f"{v.precision} of {v.repository}" for v in model.variants))
        for variant in model.variants:
            if variant.repository is None and not model.generated:
                yield f"{model.id}: a variant without repository, although the model is not generated"
        if model.derived_from is not None:
            yield from self._lineage_contradictions(model, model.derived_from)

    def _lineage_contradictions(self, model: Model, ancestor_id: str) -> Iterator[str]:
        ancestor = self._models.get(ancestor_id)
        if ancestor is None or ancestor is model:
            yield f"{model.id}: derived from {ancestor_id}, which is no other model of the catalog"
            return
        dropped = [family for family in ancestor.license_families if family not in model.license_families]
        if dropped:
            yield f"{model.id}: a derivative keeps its ancestor's license, but {', '.join(dropped)} is missing"


@cache
def load() -> Catalog:
    """Read the catalog that comes with the package; once per process.

    Raises:
        CatalogError: If the data files contradict each other.
        pydantic.ValidationError: If one breaks its schema.
    """
    return Catalog(
        models=packaged("models.json", tuple[Model, ...])(),
        accelerators=packaged("accelerators.json", tuple[Accelerator, ...])(),
        license_families=packaged("licenses.json", tuple[LicenseFamily, ...])(),
    )


def _look_up(known: Mapping[str, _T], name: str, unknown: type[UnknownNameError]) -> _T:
    try:
        return known[name]
    except KeyError:
        raise unknown(name, known) from None


def _nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    # Names differ in case, separators and a missing end more often than in letters.
    wanted = plain(name)
    choices = {plain(candidate): candidate for candidate in known}
    begins = sorted(choice for choice in choices if wanted and (choice.startswith(wanted) or wanted.startswith(choice)))
    alike = difflib.get_close_matches(wanted, choices, n=_MOST_SUGGESTIONS)
    return tuple(choices[match] for match in dict.fromkeys(begins + alike))[:_MOST_SUGGESTIONS]


def _duplicates(values: Iterable[str]) -> list[str]:
    listed = list(values)
    return [value for position, value in enumerate(listed) if value in listed[:position]]


def _repeated(kind: str, ids: Iterable[str]) -> Iterator[str]:
    return (f"{kind} {repeated} twice" for repeated in _duplicates(ids))
