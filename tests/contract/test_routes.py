"""Routes on both servers: what the operator makes is admitted, stays when it is applied again, and comes back."""

import asyncio

import pytest
import yaml

from llama_operator.api.manifest import parse
from llama_operator.decide.exposure import exposure
from llama_operator.decide.observed import Observed
from llama_operator.desired import route
from llama_operator.kube import kinds
from llama_operator.kube.port import InvalidError, KubeError, NotFoundError

HOSTS = ["llama.acme.example", "*.models.acme.example"]
INGRESS = {"hosts": HOSTS, "ingress": {"className": "nginx", "tlsSecret": "llama-tls"}}
PLAIN = {"hosts": HOSTS, "ingress": {}}
GATEWAY = {"hosts": HOSTS, "gateway": {"name": "public", "namespace": "infra", "sectionName": "https"}}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def built(objects, expose):
    deployment = parse(objects.llama(endpoint={"expose": expose}))
    (obj,) = route.build(deployment, exposure(Observed(deployment), understood=True))
    return obj


@pytest.mark.parametrize("expose", [INGRESS, PLAIN], ids=["all fields", "fewest fields"])
async def test_an_ingress_is_admitted_kept_and_set_right(ours, user, objects, expose):
    obj, ref = built(objects, expose), objects.ref(kinds.INGRESS, "chat")
    first = await ours.apply(obj)
    again = await ours.apply(obj)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"], "nothing is written twice"
    await user.merge_patch(
        ref, {"spec": {"rules": [{"host": "evil.example"}]}, "metadata": {"annotations": {"acme.example/team": "a"}}}
    )
    live = await ours.apply(obj)
    assert [rule["host"] for rule in live["spec"]["rules"]] == HOSTS
    assert live["metadata"]["annotations"]["acme.example/team"] == "a"
    controller = {"apiVersion": obj["apiVersion"], "kind": "Ingress", "metadata": {"name": "chat"}}
    controller["metadata"]["namespace"] = objects.namespace
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
    told = await user.apply_status(controller | {"status": status})
    assert told["metadata"]["generation"] == live["metadata"]["generation"]
    assert (await ours.apply(obj))["status"] == status
    await ours.delete(ref)
    with pytest.raises(NotFoundError):
        await user.get(ref)


@pytest.mark.parametrize(("before", "after"), [(GATEWAY, PLAIN), (PLAIN, GATEWAY), (GATEWAY, None)], ids=str)
async def test_who_applies_another_way_in_leaves_nothing_of_the_old_one(user, objects, before, after):
    await user.apply(objects.llama(endpoint={"expose": before}))
    endpoint = {"endpoint": {"expose": after}} if after else {}
    live = await user.apply(objects.llama(**endpoint))
    found = (live["spec"].get("endpoint") or {}).get("expose") or {}
    assert set(found) == set(after or {})


@pytest.mark.control_plane
@pytest.mark.parametrize(
    "expose",
    [
        {"hosts": HOSTS},
        {"hosts": HOSTS, "gateway": {"name": "public"}, "ingress": {}},
        {"hosts": [], "ingress": {}},
        {"hosts": ["10.0.0.1"], "ingress": {}},
        {"hosts": ["a.*.example"], "ingress": {}},
        {"hosts": HOSTS, "ingress": {"annotations": {"nginx.ingress.kubernetes.io/server-snippet": "x"}}},
        {"hosts": HOSTS, "ingress": {"annotations": {"nginx.org/proxy-buffering": "off; }"}}},
    ],
    ids=str,
)
async def test_a_way_in_that_can_not_be_is_refused_when_it_is_written(api_server, builders, expose):

    objects = builders(api_server.namespace)
    with pytest.raises(InvalidError):
        await api_server.client("kubectl").apply(objects.llama(endpoint={"expose": expose}))


@pytest.fixture
async def gateway_api(api_server, gateway_crds):
    """Gives a function that installs the definition of HTTPRoutes, changed as a test wants it."""
    (path,) = gateway_crds.glob("*_httproutes.yaml")
    crd = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    name = crd["metadata"]["name"]

    async def install(change=None):
        if change is not None:
            change(crd)
        await api_server.ask("POST", CRDS, crd)
        async with asyncio.timeout(60):
            while True:
                try:
                    await api_server.client("kubectl").list(kinds.HTTP_ROUTE, namespace=api_server.namespace)
                except KubeError:
                    await asyncio.sleep(0.1)
                else:
                    return

    yield install
    await api_server.ask("DELETE", f"{CRDS}/{name}")
    async with asyncio.timeout(60):
        while True:
            try:
                await api_server.ask("GET", f"{CRDS}/{name}")
            except NotFoundError:
                return
            await asyncio.sleep(0.1)


def without_timeouts(crd):
    """As the standard definition of Gateway API 1.0 and 1.1 is."""
    for version in crd["spec"]["versions"]:
        rules = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rules"]
        del rules["items"]["properties"]["timeouts"]


@pytest.mark.control_plane
async def test_an_http_route_is_admitted_by_gateway_api_and_nothing_is_written_twice(api_server, builders, gateway_api):
    await gateway_api()
    ours, objects = api_server.client("llama-operator"), builders(api_server.namespace)
    first = await ours.apply(built(objects, GATEWAY))
    assert first["spec"]["rules"][0]["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    again = await ours.apply(built(objects, GATEWAY))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@pytest.mark.control_plane
async def test_an_older_gateway_api_refuses_timeouts_in_words_and_takes_a_route_without(
    api_server, builders, gateway_api
):
    await gateway_api(without_timeouts)
    ours, objects = api_server.client("llama-operator"), builders(api_server.namespace)
    with pytest.raises(InvalidError, match="timeouts: field not declared in schema"):
        await ours.apply(built(objects, GATEWAY))
    older = GATEWAY | {"gateway": GATEWAY["gateway"] | {"timeouts": "GatewayDefault"}}
    live = await ours.apply(built(objects, older))
    assert "timeouts" not in live["spec"]["rules"][0]
