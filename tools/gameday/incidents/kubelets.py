"""What a real kubelet and a real container runtime say: on a node that runs pods (`--node`). The others are played without one."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from control_plane.node.configuration import PAUSE_IMAGE
from gameday.incident import Incident, Play, condition, event, explain, once
from gameday.stage import Stage

_NO_SUCH_IMAGE: Final = "registry.invalid/acme/serving:9"
_NO_IMAGE_NAME: Final = "acme/Serving:9"
_PULLING: Final = frozenset(("ErrImagePull", "ImagePullBackOff"))


def _waits(container: Mapping[str, Any]) -> str:
    return str(((container.get("state") or {}).get("waiting") or {}).get("reason", ""))


def _not_pulled(container: Mapping[str, Any]) -> bool:
    return _waits(container) in _PULLING


def _no_name(container: Mapping[str, Any]) -> bool:
    return _waits(container) == "InvalidImageName"


def _ended(container: Mapping[str, Any]) -> bool:
    # KubeRay makes the pod of a head again that ended: then there is no state before the last.
    return any((container.get(state) or {}).get("terminated") for state in ("state", "lastState"))


def _deploy(image: str, reported: Callable[[Mapping[str, Any]], bool]) -> Play:
    """Deploy with an image, and wait until the kubelet has reported about a container."""

    def cause(stage: Stage) -> None:
        stage.serve("DEPLOYING")
        stage.deploy(image=image)
        heads: set[str] = set()

        def told() -> bool:
            heads.update(pod["metadata"]["name"] for pod in stage.pods("head"))
            statuses = [pod.get("status") or {} for pod in stage.pods()]
            ends = any(reported(one) for status in statuses for one in status.get("containerStatuses") or ())
            # KubeRay deletes a pod that ended mostly before anybody looks: the second one tells of the first.
            return ends or len(heads) > 1

        stage.until(told, "the kubelet has reported it")
        stage.known()

    return cause


def _incident(name: str, title: str, reason: str, words: str, cause: Play) -> Incident:
    return Incident(
        name=name,
        title=title,
        cause=cause,
        reasons=(reason,),
        says=(
            once(condition("Ready", "False", reason, has=(words,))),
            event(reason, has=(words,)),
            once(explain("cluster", "Failed", has=(words,))),
        ),
        own=True,
        real=True,
    )


INCIDENTS: Final = (
    _incident(
        "no-such-registry",
        "The registry of the image does not exist (real kubelet)",
        "ImageNotPulled",
        _NO_SUCH_IMAGE,
        _deploy(_NO_SUCH_IMAGE, _not_pulled),
    ),
    _incident(
        "no-image-name",
        "The image is no name of an image (real kubelet)",
        "ImageNotPulled",
        "invalid reference format",
        _deploy(_NO_IMAGE_NAME, _no_name),
    ),
    _incident(
        "image-without-ray",
        "The image has no Ray (real kubelet)",
        "ContainerFailed",
        "127",
        _deploy(PAUSE_IMAGE, _ended),
    ),
)
