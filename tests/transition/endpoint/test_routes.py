"""The way in from outside over time: made, judged by its controller, changed by hand, switched, refused, taken away."""

from dataclasses import replace

import pytest

from llama_operator.decide.platform import Platform
from llama_operator.handlers.watched import WATCHED
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import ForbiddenError, InvalidError, NotFoundError, Ref
from llama_operator.observe.rights import WithoutThe

NAME, NAMESPACE = "tiny", "default"
HOSTS = ["llama.acme.example", "*.models.acme.example"]
URLS = ["https://llama.acme.example/v1", "https://*.models.acme.example/v1"]
GATEWAY = {"hosts": HOSTS, "gateway": {"name": "public", "namespace": "infra", "sectionName": "https"}}
INGRESS = {"hosts": HOSTS, "ingress": {"className": "nginx", "tlsSecret": "llama-tls"}}
ROUTE, INGRESS_REF = (Ref(kind, NAMESPACE, NAME) for kind in (kinds.HTTP_ROUTE, kinds.INGRESS))
NO_GATEWAY_API = Platform(kinds={"ingresses.networking.k8s.io": ("v1",)})
OLD_GATEWAY_API = Platform(
    kinds={"httproutes.gateway.networking.k8s.io": ("v1beta1",), "ingresses.networking.k8s.io": ("v1",)}
)
KEYS = {"mode": "Keys"}


def exposed(status):
    return next((each for each in status.conditions if each.type == "Exposed"), None)


async def apply(world, expose=None, **spec):
    return await world.apply_sample("tiny-cpu", **({"endpoint": {"expose": expose}} if expose else {}), **spec)


async def serving(world, expose=None, **spec):
    ref = await apply(world, expose, **spec)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    return ref, await world.reconcile(ref)


async def judge(world, *, accepted="True", resolved="True", generation=None, reason="Accepted", message="as asked"):
    """What the controller of the Gateway says of the HTTPRoute."""
    live = await world.user.get(ROUTE)
    seen = live["metadata"]["generation"] if generation is None else generation
    shared = {"observedGeneration": seen, "lastTransitionTime": "2026-03-02T09:30:00Z", "message": message}
    conditions = [
        {"type": "Accepted", "status": accepted, "reason": reason, **shared},
        {"type": "ResolvedRefs", "status": resolved, "reason": "ResolvedRefs", **shared},
    ]
    parent = {"name": "public", "namespace": "infra", "sectionName": "https"}
    await say(world, live, {"parents": [{"parentRef": parent, "controllerName": "acme/c", "conditions": conditions}]})


async def give_address(world, address="203.0.113.7"):
    """What the Ingress controller writes once it takes requests."""
    await say(world, await world.user.get(INGRESS_REF), {"loadBalancer": {"ingress": [{"ip": address}]}})


async def say(world, live, status):
    address = {key: live[key] for key in ("apiVersion", "kind")}
    address |= {"metadata": {key: live["metadata"][key] for key in ("name", "namespace")}}
    await world.memory.client("controller").apply_status(address | {"status": status})


async def routes(world):
    found = [(kind.kind, name) for kind in (kinds.HTTP_ROUTE, kinds.INGRESS) for name in await world.names(kind)]
    return [kind for kind, name in found if name == NAME]


async def test_without_the_field_nothing_of_it_is_there(world):
    _, status = await serving(world)
    assert await routes(world) == []
    assert (exposed(status), status.urls) == (None, None)


@pytest.mark.parametrize(("expose", "kind"), [(GATEWAY, "HTTPRoute"), (INGRESS, "Ingress")], ids=lambda v: str(v)[:9])
async def test_a_route_is_made_with_the_service_and_nothing_restarts(world, expose, kind):
    ref, before = await serving(world)
    await apply(world, expose)
    status = await world.reconcile(ref)
    assert await routes(world) == [kind]
    assert (exposed(status).status, exposed(status).reason, status.urls) == ("Unknown", "WayPending", None)
    assert status.revisions == before.revisions
    assert next(each for each in status.conditions if each.type == "Ready").status == "True"
    settled = await world.snapshot()
    await world.reconcile(ref)
    assert await world.snapshot() == settled


async def test_a_way_in_that_is_open_to_everyone_is_told_loudly_and_one_with_keys_is_not(world):
    ref, _ = await serving(world, GATEWAY)
    await judge(world)
    status = await world.reconcile(ref)
    assert list(status.urls) == URLS
    assert (exposed(status).status, exposed(status).reason) == ("True", "OpenToEveryone")
    assert "open to everyone who reaches llama.acme.example" in exposed(status).message
    assert world.events.told.count(("Warning", "OpenToEveryone")) == 1
    assert world.events.told.count(("Normal", "Exposed")) == 1
    await world.reconcile(ref)
    assert world.events.told.count(("Warning", "OpenToEveryone")) == 1


async def test_a_way_in_to_an_endpoint_with_keys_is_open_and_asks_for_one(world):
    ref, _ = await serving(world, GATEWAY, access=KEYS)
    await judge(world)
    status = await world.reconcile(ref)
    assert (exposed(status).status, exposed(status).reason, list(status.urls)) == ("True", "WayOpen", URLS)
    assert "and who sends them shows keys from ConfigMap tiny-keys" in exposed(status).message
    assert ("Warning", "OpenToEveryone") not in world.events.told


async def test_the_door_of_what_serves_counts_and_not_that_of_the_spec(world):
    """With keys in the spec and no revision that has them yet, the endpoint is still open."""
    ref, _ = await serving(world, GATEWAY)
    await judge(world)
    await apply(world, GATEWAY, access=KEYS, rollout={"strategy": "BlueGreen"})
    status = await world.reconcile(ref)
    assert exposed(status).reason == "OpenToEveryone"


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (
            {"accepted": "False", "reason": "NotAllowedByListeners", "message": "namespace not allowed"},
            "RouteNotAccepted",
            "does not accept HTTPRoute tiny: NotAllowedByListeners: namespace not allowed → ask the owner of the Gateway",
        ),
        (
            {"accepted": "False", "reason": "NoMatchingListenerHostname"},
            "RouteNotAccepted",
            "spec.endpoint.expose.hosts: take names that a listener of the Gateway has",
        ),
        ({"resolved": "False"}, "RouteNotResolved", "Gateway infra/public cannot follow HTTPRoute tiny"),
    ],
    ids=["not admitted", "no such host", "not resolved"],
)
async def test_what_the_gateway_refuses_is_told_in_its_words_with_what_to_do(world, said, reason, words):
    ref, _ = await serving(world, GATEWAY)
    await judge(world, **said)
    status = await world.reconcile(ref)
    assert (exposed(status).status, exposed(status).reason, status.urls) == ("False", reason, None)
    assert words in exposed(status).message
    assert world.events.told.count(("Warning", reason)) == 1
    assert next(each for each in status.conditions if each.type == "Ready").status == "True"
    assert next(each for each in status.conditions if each.type == "Stalled").status == "False"


async def test_a_word_about_an_older_route_or_another_gateway_does_not_count(world):
    ref, _ = await serving(world, GATEWAY)
    await judge(world)
    moved = GATEWAY | {"hosts": ["other.acme.example"]}
    await apply(world, moved)
    status = await world.reconcile(ref)
    assert (exposed(status).reason, status.urls) == ("WayPending", None), "it was said of other hosts"
    await judge(world)
    assert list((await world.reconcile(ref)).urls) == ["https://other.acme.example/v1"]
    await apply(world, moved | {"gateway": {"name": "internal"}})
    await world.reconcile(ref)
    await judge(world)
    assert exposed(await world.reconcile(ref)).reason == "WayPending"


async def test_a_label_that_comes_back_needs_no_new_word(world):
    ref, _ = await serving(world, GATEWAY)
    await judge(world)
    await world.reconcile(ref)
    await world.user.merge_patch(ROUTE, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
    assert list((await world.reconcile(ref)).urls) == URLS


@pytest.mark.parametrize(
    ("first", "second"), [(GATEWAY, INGRESS), (INGRESS, GATEWAY)], ids=["to Ingress", "to Gateway"]
)
async def test_a_switch_makes_the_new_route_before_the_old_one_goes(world, first, second):
    ref, _ = await serving(world, first)
    await apply(world, second)
    before = len(world.memory.writes)
    await world.reconcile(ref)
    kind = {"gateway": "HTTPRoute", "ingress": "Ingress"}
    assert await routes(world) == [kind[next(iter(set(second) - {"hosts"}))]]
    done = [w.verb.name for w in world.memory.writes[before:] if w.ref.kind in {kinds.INGRESS, kinds.HTTP_ROUTE}]
    assert done[:2] == ["APPLY", "DELETE"]


@pytest.mark.parametrize("expose", [GATEWAY, INGRESS], ids=["HTTPRoute", "Ingress"])
async def test_the_route_goes_with_the_field_and_so_does_all_that_was_said_of_it(world, expose):
    ref, _ = await serving(world, expose)
    await apply(world)
    status = await world.reconcile(ref)
    assert await routes(world) == []
    assert (exposed(status), status.urls) == (None, None)
    settled = await world.snapshot()
    await world.reconcile(ref)
    assert await world.snapshot() == settled


async def test_an_address_opens_an_ingress(world):
    ref, _ = await serving(world, INGRESS)
    await give_address(world)
    assert list((await world.reconcile(ref)).urls) == URLS


async def test_annotations_of_others_stay_and_those_of_the_spec_go_with_it(world):
    mine = "nginx.ingress.kubernetes.io/proxy-read-timeout"
    ref, _ = await serving(world, INGRESS | {"ingress": {"annotations": {mine: "3600"}}})
    await world.user.merge_patch(INGRESS_REF, {"metadata": {"annotations": {"acme.example/team": "a"}}})
    await world.reconcile(ref)
    assert (await world.user.get(INGRESS_REF))["metadata"]["annotations"] == {mine: "3600", "acme.example/team": "a"}
    await apply(world, INGRESS)
    await world.reconcile(ref)
    assert (await world.user.get(INGRESS_REF))["metadata"]["annotations"] == {"acme.example/team": "a"}


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        (NO_GATEWAY_API, "the cluster does not serve httproutes.gateway.networking.k8s.io: no HTTPRoute is made"),
        (
            OLD_GATEWAY_API,
            "serves httproutes.gateway.networking.k8s.io as v1beta1, and not as v1: no HTTPRoute is made",
        ),
    ],
    ids=["none", "old"],
)
@pytest.mark.parametrize("before", [None, INGRESS], ids=["new", "had an Ingress"])
async def test_without_gateway_api_it_is_said_and_nothing_else_is_disturbed(world, before, platform, words):
    ref, status = await serving(world, before)
    world.ports, world.compares = replace(world.ports, platform=lambda: platform), False
    await apply(world, GATEWAY)
    after = await world.reconcile(ref)
    assert (exposed(after).status, exposed(after).reason) == ("False", "RouteKindMissing")
    assert words in exposed(after).message
    assert "→ have Gateway API 1.2 or newer installed" in exposed(after).message
    assert ("Ingress tiny stays as it is" in exposed(after).message) is (before is not None)
    assert ("Warning", "RouteKindMissing") in world.events.told
    assert await routes(world) == (["Ingress"] if before else [])
    assert after.revisions == status.revisions
    world.ports = replace(world.ports, platform=Platform)
    await world.reconcile(ref)
    assert await routes(world) == ["HTTPRoute"], "it was installed"


class Refusing(Delegating):
    """An API server that refuses routes, or does not know them."""

    error = None

    async def apply(self, obj, *, force=True, manager=""):
        if self.error is not None and obj["kind"] in {"HTTPRoute", "Ingress"}:
            raise self.error
        return await super().apply(obj, force=force, manager=manager)

    async def delete(self, ref, **options):
        if self.error is not None and ref.kind in {kinds.HTTP_ROUTE, kinds.INGRESS}:
            raise self.error
        return await super().delete(ref, **options)


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenError('admission webhook "validate.nginx" denied it: host "llama.acme.example" is already defined'),
        InvalidError(".spec.rules[0].timeouts: field not declared in schema"),
        NotFoundError("apply of HTTPRoute: the API server does not serve this kind; install its CRDs"),
    ],
    ids=["denied", "older definition", "not there"],
)
async def test_a_route_that_is_refused_stops_nothing_and_the_old_one_stays(world, error):
    ref, _ = await serving(world, INGRESS)
    client = Refusing(world.memory.client("llama-operator"))
    world.ports, client.error = replace(world.ports, cluster=client), error
    await apply(world, GATEWAY, scaling={"maxReplicas": 7})
    status = await world.reconcile(ref)
    assert (exposed(status).status, exposed(status).reason) == ("False", "WriteRefused")
    assert str(error) in exposed(status).message
    assert await routes(world) == ["Ingress"]
    told = {each.type: each.status for each in status.conditions}
    assert (told["Ready"], told["Stalled"]) == ("True", "False")
    (name,) = await world.names(kinds.RAY_SERVICE)
    live = await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, name))
    assert "max_replicas: 7" in live["spec"]["serveConfigV2"], "all else is written"
    client.error = None
    await world.reconcile(ref)
    assert await routes(world) == ["HTTPRoute"]


class WithoutRight(Delegating):
    """An operator whose platform gives it no right to HTTPRoutes."""

    def _check(self, kind):
        if kind == kinds.HTTP_ROUTE:
            raise ForbiddenError("Missing right: verb `get` on `httproutes`; grant it by a role")

    async def get(self, ref):
        self._check(ref.kind)
        return await super().get(ref)

    async def list(self, kind, **selection):
        self._check(kind)
        return await super().list(kind, **selection)


async def test_without_the_right_to_routes_it_is_said_which_one_is_missing_and_the_rest_goes_on(world):
    rights = WithoutThe([one.kind for one in WATCHED if not one.needed])
    world.ports = replace(world.ports, cluster=WithoutRight(world.ports.cluster), rights=rights)
    world.compares = False
    _, status = await serving(world)
    assert exposed(status) is None, "who asks for no way in is not told"
    ref, status = await serving(world, GATEWAY)
    assert (exposed(status).status, exposed(status).reason) == ("False", "WriteRefused")
    assert "Missing right: verb `get` on `httproutes`" in exposed(status).message
    assert next(each for each in status.conditions if each.type == "Ready").status == "True"
    await apply(world, INGRESS)
    await world.reconcile(ref)
    assert await routes(world) == ["Ingress"]


async def test_a_route_that_may_not_be_deleted_is_told_though_nobody_asks_for_one(world):
    ref, _ = await serving(world, INGRESS)
    client = Refusing(world.memory.client("llama-operator"))
    world.ports, client.error = replace(world.ports, cluster=client), ForbiddenError("verb `delete`")
    await apply(world)
    status = await world.reconcile(ref)
    assert (exposed(status).status, exposed(status).reason, status.urls) == ("Unknown", "WriteRefused", None)
    client.error = None
    assert exposed(await world.reconcile(ref)) is None


@pytest.mark.parametrize(("expose", "where"), [(GATEWAY, ROUTE), (INGRESS, INGRESS_REF)], ids=["HTTPRoute", "Ingress"])
async def test_a_route_of_somebody_else_by_that_name_is_left_alone(world, expose, where):
    theirs = {"hostnames": ["shop.example"]} if where is ROUTE else {"rules": [{"host": "shop.example"}]}
    address = {"apiVersion": where.kind.api_version, "kind": where.kind.kind}
    await world.memory.client("shop").apply(
        address | {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": theirs}
    )
    ref, status = await serving(world, expose)
    assert exposed(status).reason == "WriteRefused"
    assert "it is not of this deployment: rename one of the two" in exposed(status).message
    await apply(world)
    await world.reconcile(ref)
    assert (await world.user.get(where))["spec"] == theirs


async def test_a_spec_that_cannot_be_read_takes_no_route_away(world):
    ref, _ = await serving(world, GATEWAY)
    await judge(world)
    await world.reconcile(ref)
    await world.user.merge_patch(ref, {"spec": {"endpoint": {"expose": {"hosts": ["NOT A NAME"]}}}})
    status = await world.reconcile(ref)
    assert await routes(world) == ["HTTPRoute"]
    assert (await world.user.get(ROUTE))["spec"]["hostnames"] == HOSTS
    assert list(status.urls) == URLS


@pytest.mark.parametrize(
    "spec", [{"activation": "Suspended"}, {"model": {"name": "llama-9"}}], ids=["suspended", "bad"]
)
async def test_the_route_stays_while_nothing_serves_and_goes_when_asked(world, spec):
    ref, _ = await serving(world, GATEWAY)
    await apply(world, GATEWAY, **spec)
    await world.reconcile(ref)
    assert await routes(world) == ["HTTPRoute"]
    await apply(world, **spec)
    await world.reconcile(ref)
    assert await routes(world) == []


async def test_before_there_is_a_service_there_is_no_route(world):
    ref = await apply(world, GATEWAY, model={"name": "llama-9"})
    status = await world.reconcile(ref)
    assert await routes(world) == []
    assert (exposed(status).status, exposed(status).reason) == ("Unknown", "Waiting")


async def test_a_pass_that_fails_keeps_what_was_said_of_the_way_in(world):
    ref, _ = await serving(world, GATEWAY)
    await judge(world)
    await world.reconcile(ref)

    class Broken(Delegating):
        async def list(self, kind, **selection):
            raise KeyError(kind)

    cluster = world.ports.cluster
    world.ports = replace(world.ports, cluster=Broken(cluster))
    with pytest.raises(KeyError):
        await world.reconcile(ref)
    live = (await world.user.get(ref))["status"]
    assert (live["urls"], "Exposed" in {each["type"] for each in live["conditions"]}) == (URLS, True)


async def test_a_deployment_that_goes_gets_no_route_back(world):
    ref, _ = await serving(world, GATEWAY)
    await world.user.merge_patch(ref, {"metadata": {"finalizers": ["acme/backup"]}})
    await world.user.delete(ref)
    await world.user.delete(ROUTE)
    await world.reconcile(ref)
    assert await routes(world) == []


async def test_the_route_goes_with_the_deployment(world):
    ref, _ = await serving(world, INGRESS)
    await world.user.delete(ref)
    assert await routes(world) == []
