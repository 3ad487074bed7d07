"""Reads the data of a ControllerRevision, in every format that an operator ever wrote. Called by `observe.children`.

The API server lets nobody change `data`. So what was written once is read as it is for as long as the revision exists, and
fields that a newer version added are kept and written back. A record whose shape does not carry an engine is refused here, so
that nothing behind this module meets one.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.decide.observed import RECORD_FORMAT, RECORD_FORMATS
from llama_operator.decide.serve_application import engine_application

_UPGRADE: Final = "upgrade the operator to the version that wrote it"
_RESTORE: Final = (
    "restore the ControllerRevision from a backup; or delete it, and the operator pins the revision anew, which may restart "
    "its engines"
)
_SIZES: Final = {
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "gpus_per_replica",
    "nodes_per_replica",
    "max_model_length",
    "max_num_seqs",
}
_MOST: Final = 1 << 30
"""More than any size of a plan."""


class UnreadableError(Exception):
    """The data cannot be read; the message says why, and what to do."""


def read(data: object) -> tuple[PlanStatus, Mapping[str, Any]]:
    """Return the plan that `data` pins, and `data` itself, whose shape is the same in all formats.

    Raises:
        UnreadableError: If it has another format, or another shape.
    """
    if not isinstance(data, Mapping):
        raise UnreadableError(f"it holds no record; {_RESTORE}")
    # Operators before the field wrote what is format 1 now.
    written = data.get("format", RECORD_FORMAT)
    if written not in RECORD_FORMATS:
        known = " and ".join(map(str, RECORD_FORMATS))
        raise UnreadableError(f"it has format {written!r}, and this version reads {known}; {_UPGRADE}")
    try:
        plan = PlanStatus.model_validate(data["plan"], extra="ignore")
    except KeyError:
        raise UnreadableError(f"it has no plan; {_RESTORE}") from None
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise UnreadableError(f"its plan.{place} cannot be read; {_UPGRADE}") from error
    for part, found in (("chosen", plan.chosen), ("guard", plan.guard)):
        sizes = found.model_dump(include=_SIZES) if found is not None else {}
        if wrong := [name for name, size in sizes.items() if not 1 <= size <= _MOST]:
            raise UnreadableError(f"its plan.{part}.{wrong[0]} is {sizes[wrong[0]]}; {_RESTORE}")
    for name, fits in _PARTS.items():
        if not fits(data.get(name)):
            raise UnreadableError(f"its {name} is not what an engine is built from; {_RESTORE}")
    return plan, data


def _serve_config(part: object) -> bool:
    """Whether it has an application with an engine and the settings of its deployment, the first one, in it."""
    if not isinstance(part, Mapping) or not isinstance(part.get("applications"), list):
        return False
    match engine_application(part):
        case {"args": {"engine": Mapping()}, "deployments": [{"autoscaling_config": Mapping()}, *_]}:
            return True
        case _:
            return False


def _cluster(part: object) -> bool:
    """Whether it has a head, and worker groups that all have a name."""
    groups = part.get("workerGroupSpecs") if isinstance(part, Mapping) else None
    named = isinstance(groups, list) and all(
        isinstance(group, Mapping) and isinstance(group.get("groupName"), str) for group in groups
    )
    return named and isinstance(part, Mapping) and isinstance(part.get("headGroupSpec"), Mapping)


def _inputs(part: object) -> bool:
    return isinstance(part, Mapping)


_PARTS: Final = {"inputs": _inputs, "serveConfig": _serve_config, "cluster": _cluster}
