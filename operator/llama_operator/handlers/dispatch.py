"""From an event to the keys that are looked at again. Only the kopf handlers of `registry` call it.

An event says only that something changed: the object goes into the cache, and the reconcile reads it there.
An object that the cache already knows, as after an own write, wakes no key. Whom else an own write concerns is woken at the write.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from llama_operator.api import paths, readings
from llama_operator.api.manifest import parse_live
from llama_operator.api.meta import LABEL_DEPLOYMENT, USER_PREFIX
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.catalog import Catalog
from llama_operator.catalog.declared import with_declared
from llama_operator.handlers.watched import RECORDS, Concerns, Watched
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Kind, Object, Ref
from llama_operator.observe.endings import Endings
from llama_operator.observe.nodes.facts import away_node, node_facts
from llama_operator.observe.pods import pod_facts
from llama_operator.observe.unreadable import Unreadable
from llama_operator.work.queue import Priority

_CROWD_SECONDS: Final = 1.0
"""Nodes come and go in crowds, and so do deployments and the pods of one; one look serves each crowd."""


class Enqueue(Protocol):
    """Asks for a pass."""

    def __call__(self, ref: Ref, priority: Priority = Priority.RECHECK) -> None:
        """Ask for a pass of `ref`."""
        ...


class Dispatcher:
    """Feeds the cache and the queue.

    Args:
        cache: Takes the objects.
        enqueue: Takes the keys.
        catalog: Tells what a node offers.
        later: Calls a function after some seconds.
        count: Counts an event by its kind.
        unreadable: Takes objects that cannot be read.
        endings: Remembers how pods ended.
    """

    def __init__(
        self,
        cache: ObjectCache,
        enqueue: Enqueue,
        *,
        catalog: Catalog,
        later: Callable[[float, Callable[[], None]], object],
        count: Callable[[Kind], None] = lambda _: None,
        unreadable: Unreadable | None = None,
        endings: Endings | None = None,
    ) -> None:
        self._cache = cache
        self._enqueue = enqueue
        self._later = later
        self._count = count
        self._unreadable = unreadable or Unreadable()
        self._endings = endings
        self._catalog, self._declared = catalog, catalog
        self._crowd = False
        self._named: set[Ref] = set()
        """Acceptances that deployments of the current crowd name."""
        self._stirred: set[Ref] = set()
        """Deployments whose pods changed in the current crowd."""
        cache.on_write = self._wrote

    def changed(self, watched: Watched, obj: Object) -> None:
        """Take over an object that was added or changed, or that a list named."""
        self._count(watched.kind)
        ref = self._unreadable.one(obj, partial(_ref, watched.kind))
        if ref is None:
            return
        before = self._cache.find(ref)
        if self._cache.put(obj):
            self._wake(watched, ref, before, obj)

    def deleted(self, watched: Watched, obj: Object) -> None:
        """Take over the end of an object."""
        self._count(watched.kind)
        ref = self._unreadable.one(obj, partial(_ref, watched.kind))
        if ref is not None and self._cache.remove(obj):
            self._wake(watched, ref, obj, None)

    def enqueue_all(self) -> None:
        """Ask for a pass of every LlamaDeployment, and of every license record."""
        for kind in RECORDS:
            for record in self._cache.list(kind):
                self._enqueue(_ref(kind, record))
        self._enqueue_deployments()

    def _enqueue_deployments(self) -> None:
        self._crowd = False
        for deployment in self._cache.list(kinds.LLAMA_DEPLOYMENT):
            self._enqueue(_ref(kinds.LLAMA_DEPLOYMENT, deployment))
        # No deployment asks for a RayService that outlived its own.
        for service in self._cache.list(kinds.RAY_SERVICE):
            deployment_ref = Ref(kinds.LLAMA_DEPLOYMENT, service["metadata"]["namespace"], _label(service))
            if deployment_ref.name and self._cache.find(deployment_ref) is None:
                self._enqueue(deployment_ref)

    def _wake(self, watched: Watched, ref: Ref, before: Object | None, after: Object | None) -> None:
        match watched.concerns:
            case Concerns.ITSELF:
                self._enqueue(ref, _priority(before, after))
                self._tell_records(before, after)
            case Concerns.ITS_DEPLOYMENT | Concerns.ITS_USERS:
                one = {_label(after or before or {})} - {""}
                names = one if watched.concerns is Concerns.ITS_DEPLOYMENT else _users(before) | _users(after)
                for name in sorted(names):
                    self._enqueue(Ref(kinds.LLAMA_DEPLOYMENT, ref.namespace, name))
            case Concerns.ITS_DEPLOYMENT_IF_NEWS:
                self._pod(ref, before, after)
            case Concerns.DEPLOYMENTS_THAT_NAME_IT | Concerns.LICENSES | Concerns.HARDWARE:
                if _asks_for(before) != _asks_for(after):
                    self._record_changed(watched.concerns, ref, [obj for obj in (before, after) if obj is not None])
            case Concerns.ALL_DEPLOYMENTS:
                self._node(before, after)

    def _record_changed(self, concerns: Concerns, ref: Ref, states: Sequence[Object]) -> None:
        if concerns is Concerns.LICENSES:
            self.enqueue_all()
            return
        if concerns is Concerns.HARDWARE:
            cards = self._unreadable.all(self._cache.list(kinds.ACCELERATOR), partial(parse_live, Accelerator))
            self._declared = with_declared(self._catalog, cards)
            self._enqueue_deployments()
            return
        self._enqueue(ref)
        # Policies tell admission which acceptances exist.
        for policy in self._cache.list(kinds.LICENSE_POLICY):
            self._enqueue(_ref(kinds.LICENSE_POLICY, policy))
        names = self._counting_with(ref.name, states)
        # Records of one entity contradict each other or count beside each other: once for a crowd of them.
        self._records_changed(names - {ref.name})
        listed = [paths.at(obj, "spec.namespaces") for obj in states]
        namespaces = {str(name) for part in listed if isinstance(part, list) for name in part}
        for deployment in self._cache.list(kinds.LLAMA_DEPLOYMENT):
            # Revisions that are no longer asked for rest on records of their namespace that the spec does not name.
            if _acceptance(deployment) in names or deployment["metadata"]["namespace"] in namespaces:
                self._enqueue(_ref(kinds.LLAMA_DEPLOYMENT, deployment), Priority.CHANGED)

    def _counting_with(self, name: str, states: Sequence[Object]) -> set[object]:
        """Names of the acceptances that a change of one may matter to: of its entity, and those that it supersedes."""
        entities = {readings.text(paths.at(obj, "spec.legalEntity")) for obj in states} - {""}
        names: set[object] = {name}
        specs = [
            (obj["metadata"]["name"], readings.mapping(obj.get("spec")))
            for obj in self._cache.list(kinds.LICENSE_ACCEPTANCE)
        ]
        names |= {other for other, spec in specs if readings.text(spec.get("legalEntity")) in entities}
        while more := {other for other, spec in specs if readings.text(spec.get("supersededBy")) in names} - names:
            names |= more
        return names

    def _wrote(self, ref: Ref, before: Object | None, after: Object) -> None:
        """An own write: the pass that made it knows it, and others that it concerns do not."""
        if ref.kind == kinds.LLAMA_DEPLOYMENT:
            self._tell_records(before, after)
        elif ref.kind == kinds.PERSISTENT_VOLUME_CLAIM:
            for name in sorted(_users(before) | _users(after)):
                self._enqueue(Ref(kinds.LLAMA_DEPLOYMENT, ref.namespace, name))

    def _tell_records(self, before: Object | None, after: Object | None) -> None:
        """An acceptance counts the deployments that rest on it, and tells what they erased: once for a crowd of them."""
        if (_asks_for(before), _erased(before)) != (_asks_for(after), _erased(after)):
            self._records_changed({_acceptance(before or {}), _acceptance(after or {})} - {None})

    def _records_changed(self, names: Iterable[object]) -> None:
        for name in names:
            if not self._named:
                self._later(_CROWD_SECONDS, self._enqueue_named)
            self._named.add(Ref(kinds.LICENSE_ACCEPTANCE, "", str(name)))

    def _enqueue_named(self) -> None:
        for ref in self._named:
            if self._cache.find(ref) is not None:
                self._enqueue(ref)
        self._named.clear()

    def _pod(self, ref: Ref, before: Object | None, after: Object | None) -> None:
        """The kubelet writes a pod again and again; only what a diagnosis would see counts."""
        name = _label(after or before or {})
        facts = [None if pod is None else self._unreadable.one(pod, pod_facts) for pod in (before, after)]
        if not name or facts[0] == facts[1]:
            return
        deployment = Ref(kinds.LLAMA_DEPLOYMENT, ref.namespace, name)
        last = facts[1] or facts[0]
        if self._endings is not None and last is not None:
            self._endings.see(deployment, last)
        if not self._stirred:
            self._later(_CROWD_SECONDS, self._enqueue_stirred)
        self._stirred.add(deployment)

    def _enqueue_stirred(self) -> None:
        stirred, self._stirred = self._stirred, set()
        for ref in stirred:
            self._enqueue(ref)

    def _node(self, before: Object | None, after: Object | None) -> None:
        """Heartbeats change nodes all the time; only what a plan would see counts."""
        readers = [partial(read, catalog=self._declared) for read in (node_facts, away_node)]
        facts = [
            None if node is None else [self._unreadable.one(node, read) for read in readers] for node in (before, after)
        ]
        if facts[0] != facts[1] and not self._crowd:
            self._crowd = True
            self._later(_CROWD_SECONDS, self._enqueue_deployments)


def _ref(kind: Kind, obj: Object) -> Ref:
    metadata = obj["metadata"]
    return Ref(kind, metadata.get("namespace") or "", metadata["name"])


def _acceptance(deployment: Object) -> object:
    return paths.at(deployment, "spec.license.acceptance")


def _erased(deployment: Object | None) -> tuple[object, ...]:
    """When copies of weights of a deployment were erased: its acceptance tells of that."""
    entries = readings.mappings(paths.at(deployment or {}, "status.weights"))
    return tuple(entry.get("erasedAt") for entry in entries if entry.get("erasedAt"))


def _users(obj: Object | None) -> set[str]:
    """Deployments that own an object, or are among its users."""
    if obj is None:
        return set()
    owners = readings.mappings(obj["metadata"].get("ownerReferences"))
    named = {readings.text(one.get("name")) for one in owners if one.get("kind") == kinds.LLAMA_DEPLOYMENT.kind}
    said = (name for name in readings.annotations(obj) if name.startswith(USER_PREFIX))
    return (named | {name.removeprefix(USER_PREFIX) for name in said}) - {""}


def _label(obj: Object) -> str:
    return readings.labels(obj).get(LABEL_DEPLOYMENT, "")


def _priority(before: Object | None, after: Object | None) -> Priority:
    if _asks_for(before) == _asks_for(after):
        return Priority.RECHECK
    # A deployment with a status is not new: an earlier process looked at it.
    return Priority.NEW if before is None and after is not None and not after.get("status") else Priority.CHANGED


def _asks_for(obj: Object | None) -> tuple[object, ...]:
    """What a user decides about an object of ours; status is not part of it."""
    if obj is None:
        return ()
    metadata = obj["metadata"]
    return metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp")
