"""A live object of ours as a typed one. Called by `observe`, and by the passes over license records.

The spec is read as strictly as a manifest. The status is read as far as it can be: another version of the operator may have
written it, or one that died while it did.
"""

from typing import TypeVar, cast, get_args

from pydantic import BaseModel

from llama_operator.api import readings
from llama_operator.api.manifest import AnyResource, parse_as
from llama_operator.api.meta import StatusModel
from llama_operator.kube.port import Object

_T = TypeVar("_T", bound=AnyResource)


def parsed(model: type[_T], live: Object) -> _T:
    """Parse a live object.

    Raises:
        InvalidManifestError: If its spec breaks its schema or a rule that the API server did not check.
    """
    resource = parse_as(model, {name: value for name, value in live.items() if name != "status"})
    if "status" not in live:
        return resource
    parsed_status = readings.status(_status_model(model), live["status"])
    return cast("_T", resource.model_copy(update={"status": parsed_status}))


def _status_model(model: type[BaseModel]) -> type[StatusModel]:
    parts = get_args(model.model_fields["status"].annotation)
    return next(part for part in parts if isinstance(part, type) and issubclass(part, StatusModel))
