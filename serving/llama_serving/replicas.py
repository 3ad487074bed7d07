"""The classes of the Serve deployments that bring vLLM, loaded without the collector. Serve finds them here by their path, see `app`.

With vLLM come six thousand modules, which stay. While they load, the collector would look through those that are there again and
again, for nothing: a quarter of the CPU that this takes.
"""

import gc
from importlib import import_module
from typing import Any, Final

_MODULES: Final = {
    "LlamaServer": "llama_serving.engine.server",
    "DirectServer": "llama_serving.engine.direct",
    "GuardServer": "llama_serving.engine.guard",
    "Ingress": "llama_serving.ingress.application",
}


def __getattr__(name: str) -> Any:
    """Load the module of a class, and return the class.

    Raises:
        AttributeError: If no deployment has a class of this name.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_loaded(_MODULES[name]), name)


def _loaded(module: str) -> Any:
    collects = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        # What stays need not be looked through later either.
        gc.freeze()
        if collects:
            gc.enable()
