"""One world for all: what may not be read is listed and stops nothing, and what is not installed is no error."""

import asyncio
from datetime import UTC, datetime

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.cli.shared.connection import missing_right
from llama_operator.decide.decision import decide
from llama_operator.kube import kinds
from llama_operator.kube.port import ForbiddenError, NotFoundError, Ref
from llama_operator.kube.server import answers
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.observe.gather import Observer
from llama_operator.observe.nodes.free import held
from llama_operator.observe.read_once import ReadOnce
from llama_operator.observe.rights import Lenient
from llama_operator.observe.serving import NoServingReader

ADDRESS = {"name": "chat", "namespace": "team-a"}
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
READ = (
    kinds.LICENSE_ACCEPTANCE,
    kinds.LLAMA_MODEL,
    kinds.LICENSE_POLICY,
    kinds.ACCELERATOR,
    kinds.NODE,
    kinds.RAY_SERVICE,
    kinds.RAY_CLUSTER,
    kinds.CONTROLLER_REVISION,
    kinds.SERVICE,
    kinds.JOB,
    kinds.POD,
)
ROUTES = (kinds.HTTP_ROUTE, kinds.INGRESS)
"""Kinds that every observation reads."""
PARTS = {
    kinds.LICENSE_ACCEPTANCE: "acceptances",
    kinds.LLAMA_MODEL: "models",
    kinds.LICENSE_POLICY: "policies",
    kinds.ACCELERATOR: "accelerators",
    kinds.NODE: "nodes",
    kinds.JOB: "access_checks",
}
"""Parts of the world that are None when they were not read."""


class Tenant:
    """A cluster as a user sees it: some kinds may not be read, others are not installed."""

    def __init__(self, cluster, *, forbidden=(), missing=()):
        self.cluster = cluster
        self.forbidden = forbidden
        self.missing = missing
        self.asked = []

    async def get(self, ref):
        self._check("get", ref.kind, ref.namespace)
        return await self.cluster.get(ref)

    async def list(self, kind, *, namespace=None, labels=None, fields=None):
        self._check("list", kind, namespace)
        return await self.cluster.list(kind, namespace=namespace, labels=labels or {}, fields=fields or {})

    def _check(self, verb, kind, namespace):
        self.asked.append((verb, kind.plural))
        group = kind.api_version.rpartition("/")[0]
        if kind in self.forbidden:
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            message = f'User "jo" cannot {verb} resource "{kind.plural}" in API group "{group}" {where}'
            details = {"group": group, "kind": kind.plural}
            raise answers.error(403, {"message": message, "details": details}, f"{verb} of {kind.kind}")
        if kind in self.missing:
            raise NotFoundError(f"the API server does not serve {kind.plural}")


def deployment(**spec):
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": ADDRESS,
        "spec": {"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "L40S-48GB"}} | spec,
    }
    return parse(obj)


def read(cluster, wanted=None, **more):
    observer = Observer(cluster, catalog.load(), NoServingReader(), checks_access=True, **more)
    return asyncio.run(observer.around(wanted or deployment(), NOW))


@pytest.fixture
def memory():
    return MemoryCluster(now=lambda: NOW)


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.plural)
def test_each_missing_right_is_listed_with_its_words_and_the_rest_is_read(memory, kind):
    tenant = Tenant(memory.client("jo"), forbidden={kind})
    observed = read(tenant, rights=Lenient(missing_right))
    (part,) = observed.unknown
    assert part.kind == kind.plural
    assert part.why.startswith(f"jo may not {'get' if kind is kinds.SERVICE else 'list'} {kind.plural}")
    assert decide(observed, catalog.load()).revision.name.startswith("chat-")
    for other, name in PARTS.items():
        assert (getattr(observed, name) is None) is (other is kind)


def test_a_user_who_may_read_nothing_still_gets_a_decision(memory):
    observed = read(Tenant(memory.client("jo"), forbidden=set(READ)), rights=Lenient(missing_right))
    assert {part.kind for part in observed.unknown} == {kind.plural for kind in READ}
    assert decide(observed, catalog.load()).chosen is not None


def test_a_kind_that_is_not_installed_has_no_objects_and_is_no_missing_right(memory):
    absent = {
        kinds.RAY_SERVICE,
        kinds.RAY_CLUSTER,
        kinds.LICENSE_ACCEPTANCE,
        kinds.LLAMA_MODEL,
        kinds.LICENSE_POLICY,
        kinds.ACCELERATOR,
    }
    observed = read(Tenant(memory.client("jo"), missing=absent), rights=Lenient(missing_right))
    assert observed.unknown == ()
    assert (observed.ray_services, observed.ray_clusters, observed.acceptances) == ((), (), ())


def test_credentials_that_are_refused_end_the_command(memory):
    class Stranger(Tenant):
        def _check(self, verb, kind, namespace):
            raise ForbiddenError("the API server does not accept the credentials")

    with pytest.raises(ForbiddenError, match="credentials"):
        read(Stranger(memory.client("jo")), rights=Lenient(missing_right))


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.plural)
def test_the_operator_fails_where_it_may_not_read(memory, kind):
    with pytest.raises(ForbiddenError):
        read(Tenant(memory.client("llama-operator"), forbidden={kind}))


def test_free_accelerators_are_not_guessed_from_nodes_that_may_not_be_read(memory):
    user = memory.client("kubectl")

    async def prepare():
        await user.apply(
            {
                "apiVersion": "ray.io/v1",
                "kind": "RayService",
                "metadata": {
                    "name": "chat-11111111",
                    "namespace": "team-a",
                    "labels": {"llama-operator.io/deployment": "chat"},
                },
                "spec": {},
            }
        )

    asyncio.run(prepare())
    assert read(Tenant(user)).free == ()
    blind = read(Tenant(user, forbidden={kinds.NODE}), rights=Lenient(missing_right))
    assert blind.free is None


def test_the_operator_asks_for_each_part_once(memory):
    tenant = Tenant(memory.client("llama-operator"))

    live = deployment().to_api()

    async def look():
        await memory.client("kubectl").apply(
            {name: live[name] for name in ("apiVersion", "kind", "spec")} | {"metadata": ADDRESS}
        )
        observer = Observer(tenant, catalog.load(), NoServingReader())
        return await observer.observe(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat"), NOW)

    assert asyncio.run(look()).unknown == ()
    lists = [("list", kind.plural) for kind in (*READ, *ROUTES) if kind not in {kinds.SERVICE, kinds.JOB}]
    assert sorted(tenant.asked) == sorted([("get", "llamadeployments"), ("get", "services"), *lists])


@pytest.mark.parametrize(
    ("resources", "phase", "count"),
    [
        ({"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}, "Running", 2),
        ({"limits": {"nvidia.com/gpu": "2"}}, "Pending", 2),
        ({"requests": {"nvidia.com/gpu": "2"}}, "Running", 2),
        ({"limits": {"nvidia.com/gpu": "2"}}, "Succeeded", 0),
        ({"limits": {"nvidia.com/gpu": "2"}}, "Failed", 0),
        ({"limits": {"cpu": "2"}}, "Running", 0),
        ({}, "Running", 0),
    ],
)
def test_a_pod_holds_what_its_containers_ask_for_until_it_has_ended(resources, phase, count):
    pod = {"spec": {"containers": [{"resources": resources}, {}]}, "status": {"phase": phase}}
    assert held(pod).devices.get("nvidia.com/gpu", 0) == count


def test_reading_once_gives_what_reading_each_time_gives(memory):
    user = memory.client("kubectl")

    async def pods():
        for name, namespace, app in (("a", "team-a", "x"), ("b", "team-a", "y"), ("c", "team-b", "x")):
            metadata = {"name": name, "namespace": namespace, "labels": {"app": app}}
            spec = {"containers": [{"name": "c", "image": "i"}]}
            await user.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    async def names(cluster, **selection):
        return {item["metadata"]["name"] for item in (await cluster.list(kinds.POD, **selection)).items}

    async def compare():
        await pods()
        counted = Tenant(user)
        once = ReadOnce(counted, None)
        for selection in (
            {},
            {"namespace": "team-a"},
            {"labels": {"app": "x"}},
            {"namespace": "team-b", "labels": {"app": "y"}},
        ):
            assert await names(once, **selection) == await names(user, **selection)
        ref = Ref(kinds.POD, "team-a", "a")
        assert await once.get(ref) == await user.get(ref)
        with pytest.raises(NotFoundError):
            await once.get(Ref(kinds.POD, "team-b", "a"))
        return counted.asked

    assert asyncio.run(compare()) == [("list", "pods")]
