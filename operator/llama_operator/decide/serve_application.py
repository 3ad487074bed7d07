"""The application with the engines in a pinned Serve config. Used by `decide`, `desired`, `status`, `evidence` and `observe`.

A RayService may have more applications: the one with the engines is found by its name.
"""

from collections.abc import Mapping
from typing import Any

from llama_operator.api import readings
from llama_serving.config import APPLICATION_NAME


def engine_application(serve_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the application with the engines; an empty one if there is none to be read."""
    applications = readings.mappings(serve_config.get("applications"))
    named = [one for one in applications if one.get("name") == APPLICATION_NAME]
    only = applications if len(applications) == 1 else ()
    return next(iter((*named, *only)), {})


def arguments(serve_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `args` of that application: a `ServingConfig` as JSON, of whatever version pinned it."""
    return readings.mapping(engine_application(serve_config).get("args"))
