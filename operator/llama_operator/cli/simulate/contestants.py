"""Autoscalers with settings of their own, as `product:preference=Latency,reserve=1`. Called by `cli.simulate.command`.

Settings are those of `spec.scaling`, so that what is played can be written into the manifest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from llama_operator.api.v1alpha1.scaling import ScalingPreference, ScalingSpec
from llama_operator.decide.bounds import PRICES
from llama_operator.errors import InvalidManifestError
from llama_operator.simulate.compare import CLAIRVOYANT, Played, play
from llama_operator.simulate.need import Need
from llama_operator.simulate.run import Setup
from llama_operator.simulate.scalers.table import SCALERS, Case

PRODUCT, _PREFERENCE = "product", "preference"
_SETTINGS = {PRODUCT: (_PREFERENCE, "reserve", "minReplicas", "maxReplicas"), "fixed": ("replicas",)}
_FROM_ONE = ("maxReplicas", "replicas")
_MOST, _DIGITS = 1024, 4
"""As in the definition of `spec.scaling`."""
_PREFERENCES = {one.value: one for one in ScalingPreference}


@dataclass(frozen=True, slots=True)
class Contestant:
    """An autoscaler as a user named it.

    Attributes:
        name: With its settings.
        scaler: Without.
        settings: By name.
    """

    name: str
    scaler: str
    settings: dict[str, str]

    def setup(self, setup: Setup) -> Setup:
        """Return the deployment with its bounds.

        Raises:
            InvalidManifestError: If they contradict each other.
        """
        fixed = self._number("replicas")
        return _bounded(setup, fixed or self._number("minReplicas"), fixed or self._number("maxReplicas"))

    def case(self, case: Case) -> Case:
        """Return what it is made for."""
        fixed, reserve = self._number("replicas"), self._number("reserve")
        return replace(
            case,
            setup=self.setup(case.setup),
            # Ready from the beginning, and never another number.
            need=case.need if fixed is None else Need((fixed,), 1.0),
            price=PRICES[_PREFERENCES[self.settings[_PREFERENCE]]] if _PREFERENCE in self.settings else case.price,
            reserve=case.reserve if reserve is None else float(reserve),
        )

    def _number(self, name: str) -> int | None:
        return int(self.settings[name]) if name in self.settings else None


def parse(text: str) -> Contestant:
    """Read an autoscaler and its settings.

    Raises:
        InvalidManifestError: If there is no such autoscaler, or a setting cannot be used.
    """
    scaler, _, rest = text.partition(":")
    if scaler not in SCALERS:
        raise _refused(f"{scaler!r} is no autoscaler that is known", f"one of {', '.join(SCALERS)}")
    known = _SETTINGS.get(scaler, ())
    settings = {}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            allowed = f"one of {', '.join(known)}" if known else "only product and fixed have any"
            raise _refused(f"{name!r} is no setting of {scaler}", allowed)
        if name == _PREFERENCE:
            if value not in _PREFERENCES:
                raise _refused(f"{part!r} is no preference", f"one of {', '.join(_PREFERENCES)}")
        elif not value.isdecimal() or len(value) > _DIGITS or not int(name in _FROM_ONE) <= int(value) <= _MOST:
            raise _refused(f"{part!r} is no number of replicas", f"a number from {int(name in _FROM_ONE)} to {_MOST}")
        if name in settings:
            raise _refused(f"{name} is said twice", "once")
        settings[name] = value
    return Contestant(text, scaler, settings)


def beside(spec: ScalingSpec, bounds: tuple[int, int]) -> Iterator[str]:
    """Yield the product with other settings than those of a spec: each other preference, and one replica more in two ways.

    Args:
        spec: What the user asks for.
        bounds: Fewest and most replicas that are played.
    """
    for preference in ScalingPreference:
        if preference is not spec.preference:
            yield f"{PRODUCT}:preference={preference.value}"
    yield f"{PRODUCT}:reserve={spec.reserve + 1}"
    if bounds[0] < bounds[1]:
        yield f"{PRODUCT}:minReplicas={bounds[0] + 1}"


def compete(
    case: Case, contestants: tuple[Contestant, ...], seed: int, tell: Callable[[str], None]
) -> tuple[Played, ...]:
    """Play all of them on one case, and the clairvoyant by which they are measured.

    Args:
        case: What they are made for.
        contestants: Who plays.
        seed: Of the run.
        tell: Takes words for what is played now.
    """
    tell(f"seed {seed}: playing {CLAIRVOYANT}")
    yardstick = play(case, CLAIRVOYANT, seed)
    hours = yardstick.outcome.gpu_hours
    played = []
    for number, one in enumerate(contestants, start=1):
        tell(f"seed {seed}: playing {one.name} ({number} of {len(contestants)})")
        run = yardstick if one.scaler == CLAIRVOYANT else play(one.case(case), one.scaler, seed)
        relative = run.outcome.gpu_hours / hours if hours else 0.0
        played.append(replace(run, scaler=one.name, relative_hours=relative))
    return tuple(played)


def _refused(problem: str, allowed: str) -> InvalidManifestError:
    return InvalidManifestError.of("the command line", "--scaler", problem, allowed)


def _bounded(setup: Setup, least: int | None, most: int | None) -> Setup:
    def chosen(bounds: tuple[int, int]) -> tuple[int, int]:
        changed = bounds[0] if least is None else least, bounds[1] if most is None else most
        if changed[0] > changed[1]:
            raise _refused(f"minReplicas {changed[0]} is above maxReplicas {changed[1]}", "name both")
        return changed

    at = setup.bounds_at
    return replace(
        setup, bounds=chosen(setup.bounds), bounds_at=None if at is None else lambda second: chosen(at(second))
    )
