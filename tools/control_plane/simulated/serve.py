"""What Ray Serve says of itself, for clusters that do not exist. Used by `proxy`; knows nothing of HTTP."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from llama_serving.config import BOARD_APPLICATION_NAME, BOARD_DEPLOYMENT

_DEPLOYMENTS: Final = ("LlamaServer",)
"""Of an application whose configuration names none."""
_DEPLOYMENT_STATUS: Final = {"RUNNING": "HEALTHY", "DEPLOY_FAILED": "DEPLOY_FAILED", "UNHEALTHY": "UNHEALTHY"}

Status = Literal["NOT_STARTED", "DEPLOYING", "RUNNING", "DEPLOY_FAILED", "UNHEALTHY", "DELETING"]


@dataclass(frozen=True, slots=True)
class Behavior:
    """How the applications of a cluster fare.

    Attributes:
        application_status: What becomes of an application with engines that was submitted; the board has none, and runs.
        message: What that application and its deployments say.
        deploying_seconds: How long it is DEPLOYING after each new submission, before that.
    """

    application_status: Status = "RUNNING"
    message: str = ""
    deploying_seconds: float = 1.0


@dataclass(slots=True)
class _Cluster:
    configs: list[Mapping[str, Any]] = field(default_factory=list)
    changed: float = 0.0


class SimulatedServe:
    """Serve of all clusters.

    Args:
        now: Seconds of a clock that does not go backwards.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._clusters: dict[tuple[str, str], _Cluster] = {}
        self._behaviors: dict[tuple[str, str], Behavior] = {}
        self._looks: Counter[tuple[str, str]] = Counter()

    def put(self, namespace: str, cluster: str, config: Mapping[str, Any]) -> None:
        """A configuration was submitted. One that changes nothing disturbs nothing, as with Serve."""
        found = self._clusters.setdefault((namespace, cluster), _Cluster())
        if not found.configs or found.configs[-1] != config:
            found.changed = self._now()
        found.configs.append(config)

    def set(self, namespace: str, prefix: str, behavior: Behavior) -> None:
        """Decide how clusters whose names begin with `prefix` fare, those to come included; the longest prefix counts."""
        self._behaviors[namespace, prefix] = behavior

    def puts(self, namespace: str, prefix: str) -> list[Mapping[str, Any]]:
        """Every configuration that was submitted to clusters whose names begin with `prefix`; the last is the newest."""
        clusters = (
            each for (where, name), each in self._clusters.items() if where == namespace and name.startswith(prefix)
        )
        return [config for cluster in clusters for config in cluster.configs]

    def looks(self, namespace: str, prefix: str) -> int:
        """How often the applications of clusters whose names begin with `prefix` were asked for."""
        return sum(
            count for (where, name), count in self._looks.items() if where == namespace and name.startswith(prefix)
        )

    def applications(self, namespace: str, cluster: str) -> Mapping[str, Any]:
        """Answer of the dashboard: nothing, until a configuration was submitted."""
        self._looks[namespace, cluster] += 1
        found = self._clusters.get((namespace, cluster))
        if found is None:
            return {}
        behavior = self._behavior(namespace, cluster)
        deploying = self._now() - found.changed < behavior.deploying_seconds
        status = "DEPLOYING" if deploying else behavior.application_status
        message = "" if deploying else behavior.message
        board = ("DEPLOYING" if deploying else "RUNNING", "")
        return {
            each["name"]: _application(each, *(board if each["name"] == BOARD_APPLICATION_NAME else (status, message)))
            for each in found.configs[-1]["applications"]
        }

    def _behavior(self, namespace: str, cluster: str) -> Behavior:
        prefixes = [prefix for where, prefix in self._behaviors if where == namespace and cluster.startswith(prefix)]
        return self._behaviors[namespace, max(prefixes, key=len)] if prefixes else Behavior()


def _application(config: Mapping[str, Any], status: str, message: str) -> Mapping[str, Any]:
    usual = (BOARD_DEPLOYMENT,) if config["name"] == BOARD_APPLICATION_NAME else _DEPLOYMENTS
    names = [each["name"] for each in config.get("deployments", ())] or usual
    inner = _DEPLOYMENT_STATUS.get(status, "UPDATING")
    deployments = {name: {"name": name, "status": inner, "message": message} for name in names}
    return {
        "name": config["name"],
        "route_prefix": config.get("route_prefix", "/"),
        "status": status,
        "message": message,
        "deployments": deployments,
    }
