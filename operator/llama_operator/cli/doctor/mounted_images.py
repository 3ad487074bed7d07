"""Whether pods of this cluster can mount weights from an image. Pure; called by `cli.doctor.checks`.

The API server has to know such volumes, and the runtime of a node has to mount them: a node tells its runtime and its version.
"""

from collections.abc import Sequence
from typing import Final

from llama_operator.cli.doctor.facts import NodeSummary
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.copies.needed import IMAGE_VOLUMES_SINCE, IMAGE_VOLUMES_WORDS
from llama_operator.decide.platform import Platform, version

_OLDEST: Final = {"containerd": (2, 1), "cri-o": (1, 31)}
"""Runtimes that mount images, from which version on; what another one does is not known."""
_NAMED: Final = 4


def check(platform: Platform, nodes: Sequence[NodeSummary] | Unknown) -> Check:
    """Judge whether spec.weights.cache.mode Image works here.

    Args:
        platform: What the API server is.
        nodes: The nodes.
    """
    name, server = "mounted-images", version(platform.kubernetes)
    if server and server < IMAGE_VOLUMES_SINCE:
        text = f"Kubernetes {platform.kubernetes} mounts no images as volumes; {IMAGE_VOLUMES_WORDS} does"
        return Check(name, State.ABSENT, text)
    if isinstance(nodes, Unknown):
        return Check(name, State.UNKNOWN, nodes.why)
    told = {node.name: _mounts(node.runtime) for node in nodes}
    old = sorted(node for node, mounts in told.items() if mounts is False)
    if old:
        runtimes = ", ".join(sorted({node.runtime for node in nodes if node.name in old}))
        named = ", ".join(old[:_NAMED]) + (f" and {len(old) - _NAMED} more" if len(old) > _NAMED else "")
        text = f"the runtime of {named} ({runtimes}) mounts no images: pods with weights in an image do not start there"
        return Check(name, State.ABSENT, text)
    if not server or not told or None in told.values():
        return Check(name, State.UNKNOWN, "the versions of the API server and of all runtimes are not known")
    return Check(name, State.PASSED, "weights may be in images (spec.weights.cache.mode Image)")


def _mounts(runtime: str) -> bool | None:
    """Whether a runtime, as in `containerd://2.1.4`, mounts images; None if that is not known."""
    kind, _, told = runtime.partition("://")
    oldest, numbers = _OLDEST.get(kind), version(told)
    return None if oldest is None or not numbers else numbers >= oldest
