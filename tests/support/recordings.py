"""What a real API server, scheduler, KubeRay and kubelet said in incidents (`make record`), as the operator reads it."""

import copy
from datetime import timedelta
from functools import cache
from pathlib import Path

import yaml

from llama_operator import catalog
from llama_operator.decide.observed import Observed
from llama_operator.handlers.watched import kept
from llama_operator.kube import kinds
from llama_operator.observe import children
from llama_operator.observe.nodes.facts import away_node, node_facts
from llama_operator.observe.pods import pod_facts
from support.deployments import deployment_of

FOLDER = Path(__file__).resolve().parents[1] / "recordings"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
_ENGINES = FOLDER / "engines"
ENGINES = tuple(sorted(path.stem for path in _ENGINES.glob("*.yaml")))
"""What Serve said of engines; each recording says by whom."""


@cache
def _read(name):
    # By the parser in C: in Python a recording takes a tenth of a second. Times are texts in JSON.
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return [_json(one) for one in yaml.load_all(text, yaml.CSafeLoader)]


def objects(name, *, slim=True):
    """The objects of a recording, as the cache keeps them or whole."""
    found = copy.deepcopy(_read(name))
    return [kept(kinds.find(one["apiVersion"], one["kind"]), one) for one in found] if slim else found


@cache
def engine(name):
    """A recording of an engine: `provenance`, `applicationStatuses`, and `log` where its process wrote of errors."""
    return yaml.load((_ENGINES / f"{name}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)


def engine_service(name, revision="chat-1"):
    """The RayService of an engine, as the operator reads it once KubeRay has copied what Serve said."""
    told = engine(name)["applicationStatuses"]
    metadata = {"name": revision, "labels": {"llama-operator.io/revision": revision}}
    return children.ray_service_facts(
        {"metadata": metadata, "status": {"activeServiceStatus": {"applicationStatuses": told}}}
    )


def observed(name, *, after=5.0, **more):
    """What a pass would know some seconds after the last moment of the recording, and the revision."""
    items = objects(name)
    of = {kind: [one for one in items if one["kind"] == kind] for kind in ("RayService", "RayCluster", "Pod", "Node")}
    pods = tuple(map(pod_facts, of["Pod"]))
    services = tuple(map(children.ray_service_facts, of["RayService"]))
    revision = services[0].name if services else pods[0].revision
    now = (
        max(moment for pod in pods for moment in [pod.unready_since] if moment)
        if any(pod.unready_since for pod in pods)
        else services[0].created
        if services
        else None
    )
    known = catalog.load()
    nodes = [one for node in of["Node"] if (one := node_facts(node, known)) is not None]
    away = [one for node in of["Node"] if (one := away_node(node, known)) is not None]
    facts = Observed(
        deployment_of(),
        nodes=tuple(nodes) if of["Node"] else None,
        away=tuple(away),
        pods=pods,
        ray_services=services,
        ray_clusters=tuple(map(children.ray_cluster_facts, of["RayCluster"])),
        **({} if now is None else {"now": now + timedelta(seconds=after)}),
        **more,
    )
    return facts, revision


def _json(value):
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if hasattr(value, "strftime") else value
