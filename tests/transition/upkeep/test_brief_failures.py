"""A request that fails for a moment neither pages nor hides: log and metrics at once, the conditions once it has lasted."""

from dataclasses import replace

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.errors import PassTooLongError
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import ConflictError, ExpiredError, ForbiddenError, NotFoundError, UnavailableError
from llama_operator.status.failure import PATIENCE
from support.kstatus import kstatus
from support.passes import serving, settles

MOMENTARY = [
    UnavailableError("list of Node: HTTP status 500 from the API server"),
    UnavailableError(
        "read of Lease: no answer from the API server at https://10.0.0.1 (TimeoutError); check that it runs"
    ),
    ExpiredError("list of Node: the continue token is too old"),
    ConflictError("apply of Service: the object has been modified"),
]
LASTING = [
    ForbiddenError("list of Node: nodes is forbidden"),
    NotFoundError("no such kind"),
    PassTooLongError(120),
    ValueError("a defect"),
]


class Fails(Delegating):
    """A cluster of which requests for some kinds fail."""

    def __init__(self, inner, error, *, verbs=("get", "list"), which=(kinds.NODE,)):
        super().__init__(inner)
        self.error = error
        self.verbs = verbs
        self.which = which

    def _around(self, verb, ref):
        if self.error is not None and verb.value in self.verbs and ref.kind in self.which:
            raise self.error
        return super()._around(verb, ref)


async def failing(world, ref, error, **options):
    """One pass that fails; returns the status after it."""
    before, failed = world.ports, []
    world.ports = replace(
        before, cluster=Fails(before.cluster, error, **options), failed=lambda *what: failed.append(what)
    )
    try:
        with pytest.raises(type(error)):
            await world.reconcile(ref)
    finally:
        world.ports = before
    assert len(failed) == 1, "it is counted at once, whatever the status says"
    return (await world.user.get(ref)).get("status")


def told(status, kind="Ready"):
    found = next(each for each in status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]


@pytest.mark.parametrize("error", MOMENTARY, ids=str)
async def test_what_fails_for_a_moment_is_no_word_of_the_status(world, error):
    ref, _ = await serving(world)
    before = (await settles(world, ref)).to_api()
    events, written = list(world.events.told), len(world.memory.writes)
    for _ in range(5):
        assert await failing(world, ref, error) == before
        world.clock.advance(10)
    assert (world.events.told, len(world.memory.writes)) == (events, written)
    assert (await settles(world, ref)).to_api()["conditions"] == before["conditions"]


@pytest.mark.parametrize("error", MOMENTARY, ids=str)
async def test_what_lasts_is_told_with_its_reason_once_and_heals(world, error):
    ref, _ = await serving(world)
    before = (await settles(world, ref)).to_api()
    await failing(world, ref, error)
    world.clock.advance(PATIENCE.total_seconds())
    status = await failing(world, ref, error)
    assert told(status) == ("Unknown", Reason.KUBERNETES_ERROR)
    assert (told(status, "Reconciling")[0], told(status, "Stalled")[0]) == ("True", "False")
    for kind in ("EndpointReady", "UpToDate", "LicenseAccepted"):
        assert told(status, kind) == told(before, kind)
    written = len(world.memory.writes)
    world.clock.advance(60)
    await failing(world, ref, error)
    assert len(world.memory.writes) == written
    healed = await settles(world, ref)
    assert [(each.type, each.status) for each in healed.conditions] == [
        (each["type"], each["status"]) for each in before["conditions"]
    ]


QUOTA_RACE = (
    'apply of Service default/tiny: Operation cannot be fulfilled on resourcequotas "gke-resource-quotas": the object has '
    "been modified; please apply your changes to the latest version and try again"
)
"""What an API server says where many objects are made at once in a namespace with a quota: kubernetes/kubernetes#67761."""


@pytest.mark.parametrize(
    "kind", [kinds.SERVICE, kinds.NETWORK_POLICY, kinds.POD_DISRUPTION_BUDGET], ids=lambda kind: kind.kind
)
async def test_a_race_at_the_first_write_of_an_object_is_no_refusal(world, kind):
    ref = await world.apply_sample("tiny-cpu")
    world.compares = False
    status = await failing(world, ref, ConflictError(QUOTA_RACE), verbs=("apply",), which=(kind,))
    assert (told(status)[0], told(status, "Stalled")[0]) == ("Unknown", "False")
    await settles(world, ref)
    assert ("Warning", "WriteRefused") not in world.events.told
    assert ref.name in await world.names(kind)


async def test_only_failures_in_a_row_count(world):
    ref, _ = await serving(world)
    before = (await settles(world, ref)).to_api()
    for _ in range(4):
        assert await failing(world, ref, MOMENTARY[0]) == before
        world.clock.advance(PATIENCE.total_seconds() / 2)
        await world.reconcile(ref)
        world.clock.advance(PATIENCE.total_seconds() / 2)


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
async def test_what_no_moment_mends_is_told_at_once(world, error):
    ref, _ = await serving(world)
    await settles(world, ref)
    status = await failing(world, ref, error)
    assert told(status)[0] == "Unknown"
    kubernetes = isinstance(error, ForbiddenError | NotFoundError)
    assert told(status)[1] == (Reason.KUBERNETES_ERROR if kubernetes else Reason.INTERNAL_ERROR)


async def test_a_deployment_that_has_no_word_yet_gets_one_at_once(world):
    ref = await world.apply_sample("tiny-cpu")
    assert told(await failing(world, ref, MOMENTARY[0])) == ("Unknown", Reason.KUBERNETES_ERROR)


async def test_an_outage_is_told_although_a_write_fails_at_the_same_time(world):
    ref, name = await serving(world)
    await settles(world, ref)
    await world.serve(name, endpoints=0)
    status = await failing(world, ref, MOMENTARY[0], verbs=("apply",), which=(kinds.SERVICE,))
    assert told(status)[0] == "False"
    assert "downSince" in status


CHANGES = {
    "a new revision": ({"context": {"maxModelLength": 512}}, (kinds.CONTROLLER_REVISION, kinds.RAY_SERVICE)),
    "more replicas": ({"scaling": {"minReplicas": 2, "maxReplicas": 2}}, (kinds.RAY_SERVICE,)),
}


@pytest.mark.parametrize(("change", "which"), CHANGES.values(), ids=CHANGES)
async def test_a_change_that_could_not_be_written_is_not_told_as_done(world, change, which):
    ref, name = await serving(world)
    before = (await settles(world, ref)).to_api()
    await world.apply_sample("tiny-cpu", **change)
    error = UnavailableError("apply: HTTP status 500")
    for _ in range(3):
        assert await failing(world, ref, error, verbs=("apply",), which=which) == before
        assert kstatus(await world.user.get(ref)) == "InProgress"
        world.clock.advance(10)
    # An outage at that moment waits for nothing.
    await world.serve(name, endpoints=0)
    status = await failing(world, ref, error, verbs=("apply",), which=which)
    assert told(status)[0] == "False"
    assert kstatus(await world.user.get(ref)) == "InProgress"
