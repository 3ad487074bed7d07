"""The world of a fuzz case: the in-memory cluster, the passes over it, and what must hold after each of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from typing_extensions import override

from llama_operator import catalog
from llama_operator.api.meta import LABEL_DEPLOYMENT, LABEL_REVISION
from llama_operator.decide.observed import Settings
from llama_operator.errors import WriteRefusedError
from llama_operator.handlers.dispatch import Dispatcher
from llama_operator.handlers.resync import Resync
from llama_operator.handlers.watched import RECORDS, WATCHED, kept
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import Cluster, InvalidError, KubeError, NotFoundError, Object, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.observe.children import ray_service_facts
from llama_operator.observe.serving_http import read_answer
from llama_operator.observe.unreadable import Unreadable
from llama_operator.process.gauges import by_ready
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.event_recorder import EventRecorder
from llama_operator.reconcile.license_records import reconcile_record
from llama_operator.reconcile.ports import Ports
from llama_operator.telemetry.metrics import plan_ratios
from support.fuzzing import validity

Children: TypeAlias = Mapping[tuple[str, str], Any]
"""Specs by kind and name."""

NAMESPACE, NAME = f"team-{'a' * 58}", "chat-with-the-longest-name-that-may-be"
"""As long as may be: what is made of a name is longer."""
REF = Ref(kinds.LLAMA_DEPLOYMENT, NAMESPACE, NAME)
PASSES = 6
"""Passes after which nothing more may be written."""
_MOST_COPIES = 2


@dataclass
class Clock:
    """Stands still between the steps of a case."""

    now: datetime = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Pods:
    """What the serving pods would answer: bytes, as they come."""

    unreadable: Unreadable
    body: bytes | None = None

    async def read(self, *, namespace: str, service: str, address: str) -> Any:
        del address
        return None if self.body is None else read_answer(self.body, f"{namespace}/{service}", self.unreadable)


class Checked(Delegating):
    """The operator's client; every object that it writes is held against the schema of its server."""

    forged = False
    """Whether somebody wrote into a pinned revision, from which objects are built: then their server refuses them."""

    def __init__(self, inner: Cluster, memory: MemoryCluster) -> None:
        super().__init__(inner)
        self._memory = memory
        self._settled: dict[Ref, tuple[str, int, Object]] = {}

    @override
    async def apply(self, obj: Object, *, force: bool = True, manager: str = "") -> Object:
        # As the operator's own cache: what was applied to an object that nobody has written since changes nothing.
        ref, sent = kinds.address_to_write(obj), json.dumps([manager, obj], sort_keys=True)
        known = self._settled.get(ref)
        if known is not None and known[:2] == (sent, self._version(ref)):
            return known[2]
        try:
            validity.check_object(obj)
        except AssertionError as error:
            if not self.forged:
                raise
            raise InvalidError(str(error)) from error
        live = await super().apply(obj, force=force, manager=manager)
        self._settled[ref] = sent, self._version(ref), live
        return live

    def _version(self, ref: Ref) -> int:
        stored = self._memory._store.get(ref)  # a look without a copy
        return -1 if stored is None else stored.version

    @override
    async def apply_status(self, obj: Object) -> Object:
        validity.check_status(obj["kind"], obj["status"])
        return await super().apply_status(obj)


@dataclass
class World:
    """One case."""

    clock: Clock = field(default_factory=Clock)
    checks_access: bool = False
    log: list[str] = field(default_factory=list)
    """What was done, for people."""
    tampered: bool = False
    """Whether somebody wrote what only the operator may write: then Kubernetes may refuse what it applies, and it may run
    what others made."""

    def __post_init__(self) -> None:
        self.memory = MemoryCluster(now=self.clock)
        self.user = self.memory.client("kubectl")
        self.kuberay = self.memory.client("kuberay-operator")
        self.unreadable = Unreadable()
        self.pods = Pods(self.unreadable)
        self.client = Checked(self.memory.client("llama-operator"), self.memory)
        self.ports = Ports(
            cluster=self.client,
            serving=self.pods,
            catalog=catalog.load(),
            settings=Settings(checks_access=self.checks_access),
            now=self.clock,
            unreadable=self.unreadable,
            events=EventRecorder(self.client, now=self.clock),
        )

    async def look(self) -> None:
        """Make one pass, and check what must hold after it."""
        refused: Exception | None = None
        try:
            await reconcile(self.ports, REF)
        except (KubeError, WriteRefusedError) as error:
            refused = error
        assert refused is None or self.tampered, f"Kubernetes refused what nobody tampered with: {refused}"
        await self._check()
        return refused

    async def settle(self) -> None:
        """Look until a pass writes nothing: the next one would read what this one read."""
        for _ in range(PASSES):
            before = self._count()
            await self.look()
            if self._count() == before:
                return
        written = ", ".join(f"{each.verb.value} {each.ref}" for each in self.memory.writes[-4:])
        raise AssertionError(f"does not settle in {PASSES} passes; the last writes: {written}")

    def _count(self) -> int:
        """Writes so far, without events, which are news."""
        return sum(each.ref.kind != kinds.EVENT for each in self.memory.writes)

    async def look_at_records(self) -> None:
        """Make one pass over each license record."""
        for kind in RECORDS:
            for item in (await self.user.list(kind)).items:
                ref = Ref(kind, "", item["metadata"]["name"])
                await reconcile_record(
                    self.ports.cluster, ref, catalog=self.ports.catalog, now=self.clock, unreadable=self.unreadable
                )

    async def watch(self) -> None:
        """Give all objects to the cache and the handlers, and read what /metrics shows."""
        cache = ObjectCache(index=LABEL_DEPLOYMENT, keep=kept, unreadable=self.unreadable.leave_out)
        dispatcher = Dispatcher(
            cache, lambda *_: None, catalog=self.ports.catalog, later=lambda _, call: call(), unreadable=self.unreadable
        )
        await Resync(self.user, cache, ()).run(WATCHED)
        for watched in WATCHED:
            for item in cache.list(watched.kind):
                changed = item | {"metadata": item["metadata"] | {"resourceVersion": str(10**9)}}
                dispatcher.changed(watched, changed)
                dispatcher.deleted(watched, changed)
        dispatcher.enqueue_all()
        live = await self.find(REF)
        assert sum(count for _, count in by_ready([] if live is None else [live])) <= 1
        list(plan_ratios([] if live is None else [live]))

    async def find(self, ref: Ref) -> Object | None:
        """Return an object; None if there is none."""
        try:
            return await self.user.get(ref)
        except NotFoundError:
            return None

    async def children(self) -> Children:
        """Specs of what serves, by kind and name."""
        found = {}
        for kind in (kinds.RAY_SERVICE, kinds.SERVICE, kinds.NETWORK_POLICY):
            for item in (await self.user.list(kind, namespace=NAMESPACE, labels={LABEL_DEPLOYMENT: NAME})).items:
                if "deletionTimestamp" not in item["metadata"]:
                    found[kind.kind, item["metadata"]["name"]] = item.get("spec")
        return found

    async def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """Conditions of the deployment by type."""
        live = await self.find(REF)
        return {} if live is None else _by_type(live)

    async def _check(self) -> None:
        live = await self.find(REF)
        if live is None:
            return
        conditions = _by_type(live)
        _check_sums({kind: condition.get("status") for kind, condition in conditions.items()})
        names = [
            stored.ref.name
            for stored in self.memory._store.of(kinds.RAY_SERVICE)  # a look without copies
            if stored.deleted is None and stored.metadata.get("labels", {}).get(LABEL_DEPLOYMENT) == NAME
        ]
        assert self.tampered or len(names) <= _MOST_COPIES, f"{len(names)} RayServices: {names}"
        ready = conditions.get("Ready", {})
        if ready.get("status") == "True" and ready.get("observedGeneration") == live["metadata"].get("generation"):
            await self._check_ready(live)

    async def _check_ready(self, live: Object) -> None:
        service = await self.find(Ref(kinds.SERVICE, NAMESPACE, NAME))
        selector = {} if service is None else (service.get("spec") or {}).get("selector") or {}
        active = (live["status"].get("revisions") or {}).get("active")
        selected = selector.get(LABEL_REVISION)
        assert selected == active, f"Ready, and the Service selects {selected}, the status says {active}"
        served = await self.find(Ref(kinds.RAY_SERVICE, NAMESPACE, str(selected)))
        assert served is not None, f"Ready, and there is no RayService {selected}"
        assert "deletionTimestamp" not in served["metadata"], f"Ready, and RayService {selected} goes"
        assert ray_service_facts(served).endpoints > 0, f"Ready, and {selected} has no endpoint"

    async def change(self, kind: Any, name: str, patch: Any, namespace: str = NAMESPACE) -> None:
        """Merge a patch into an object as a person would, if it exists."""
        ref = Ref(kind, namespace if kind.namespaced else "", name)
        if await self.find(ref) is not None:
            await self.user.merge_patch(ref, json.loads(json.dumps(patch)))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, or go back."""
        self.clock.now += timedelta(seconds=seconds)


def _check_sums(said: Mapping[str, Any]) -> None:
    """Tools that wait for a change take it for done when nothing is abnormal and Ready is True."""
    assert not said.get("Reconciling") == said.get("Stalled") == "True", "Reconciling and Stalled at once"
    at_rest = said.get("Reconciling") == said.get("Stalled") == "False"
    assert not at_rest or said.get("Ready") != "True" or said.get("UpToDate") == "True", "done, and not UpToDate"


def _by_type(live: Object) -> Mapping[str, Mapping[str, Any]]:
    return {each["type"]: each for each in (live.get("status") or {}).get("conditions", ())}
