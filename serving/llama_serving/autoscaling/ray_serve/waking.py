"""Has Serve ask the policy also while nothing serves and requests wait. Called by `adapter`, in Serve's controller.

Ray Serve 2.60 answers by itself then: one replica, until it serves. So a load that needs seven gets one after a start, and the rest after
two. Nothing public turns that off. Its factor for growth is part of the deployment's config, and a change of it deploys again.

The private name of Ray is only here. Where it is missing nothing is changed, and Serve starts one replica as before; a test holds it
against the installed Ray.
"""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Protocol

_MODULE = "ray.serve.autoscaling_policy"
_ANSWER = "_get_cold_start_scale_up_replicas"
_MARK = "leaves_zero_to"


class _Context(Protocol):
    config: Any


def be_asked_at_zero(policy: str, modules: Mapping[str, Any] | None = None) -> bool:
    """Have policies of this name be asked at zero replicas; others keep Serve's answer. Done once in a process.

    Args:
        policy: Name of the class.
        modules: Modules that are loaded, None for those of this process. Nothing is imported: the controller has what it needs.

    Returns:
        Whether they are asked.
    """
    serve = (sys.modules if modules is None else modules).get(_MODULE)
    answer: Callable[[_Context], int | None] | None = getattr(serve, _ANSWER, None)
    if serve is None or answer is None:
        return False
    if getattr(answer, _MARK, None) == policy:
        return True

    @wraps(answer)
    def asked(context: _Context) -> int | None:
        # An import path, or the class itself.
        function = context.config.policy.policy_function
        name = function if isinstance(function, str) else getattr(function, "__name__", "")
        return None if name.replace(":", ".").rpartition(".")[2] == policy else answer(context)

    setattr(asked, _MARK, policy)
    setattr(serve, _ANSWER, asked)
    return True
