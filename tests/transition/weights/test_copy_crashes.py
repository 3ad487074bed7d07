"""The operator may end after any write: another one takes up where it was, and comes to the same end.

A flow is a script of what people and the cluster do. It is played once undisturbed, and once with a crash after each write; what
is there afterwards has to be the same, with what the status and the evidence tell of the copies.
"""

import json
from contextlib import suppress

import pytest

from llama_operator.evidence.log import HashChainLog, NoAnchor
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.kube.twin.journal import PassThrough
from support.crashing.faults import CrashAfter, CrashError
from support.crashing.flows import Landmarks, state_of

NAMESPACE, ACCEPTANCE = "team-a", "acme-llama-3-1"
OTHER = {"name": "llama-3.1-8b", "precision": "BF16", "variant": "meta-llama/Llama-3.1-8B"}


class Guard:
    """Judges after every write.

    No RayService is there before its copy is verified, no claim goes that one of them reads, and of a license that has ended no
    claim goes before every status tells that it is empty.
    """

    def __init__(self, copies, inner):
        self._copies, self._inner = copies, inner

    def before(self, write):
        self._inner.before(write)

    def after(self, write):
        looked_at = (kinds.PERSISTENT_VOLUME_CLAIM, kinds.JOB, kinds.RAY_SERVICE, kinds.LLAMA_DEPLOYMENT)
        here = [stored.to_object() for kind in looked_at for stored in self._copies.world.memory._store.of(kind)]
        claims = {one["metadata"]["name"]: one for one in here if one["kind"] == "PersistentVolumeClaim"}
        ended = {
            job["metadata"]["labels"]["llama-operator.io/weights"]
            for job in here
            if job["kind"] == "Job"
            and any(each["type"] == "Complete" for each in job.get("status", {}).get("conditions", ()))
        }
        for one in here:
            if one["kind"] != "RayService" or "deletionTimestamp" in one["metadata"]:
                continue
            pod = one["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
            for volume in pod["volumes"]:
                name = volume.get("persistentVolumeClaim", {}).get("claimName", "")
                if name.startswith("llama-weights-"):
                    assert name in claims, f"{one['metadata']['name']} reads a claim that is gone"
                    copied = "llama-operator.io/weights-copied" in claims[name]["metadata"].get("annotations", {})
                    assert copied or name.removeprefix("llama-weights-") in ended
        for name in self._copies.to_erase - claims.keys():
            entries = [
                entry
                for one in here
                if one["kind"] == "LlamaDeployment"
                for entry in one.get("status", {}).get("weights", ())
            ]
            told = [entry["state"] for entry in entries if entry["claim"] == name]
            assert set(told) == {"Erased"}, f"claim {name} went, and the status says {told}"
        self._inner.after(write)


class Known(BaseException):
    """Nothing is left to play: from here on it is as it was without a crash."""


class Play:
    """One play of a flow: what people and the cluster do, and passes of operators that may end after a write."""

    def __init__(self, copies, crashes, landmarks):
        self.copies, self.world, self._lives, self._lines = copies, copies.world, list(crashes), []
        self._landmarks, self.course, self._crashed = landmarks, landmarks.course() if crashes else None, False
        copies.to_erase = set()
        self.first = 0
        # What a person is told is compared in the flows without a crash.
        self.world.compares = not crashes

    def begin(self):
        """Here the flow begins: crashes before are played by another one."""
        self.first = self.writes()

    def writes(self):
        return sum(1 for write in self.world.memory.writes if write.manager.startswith("llama-operator"))

    async def operator(self):
        inner = CrashAfter(self._lives.pop(0)) if self._lives else PassThrough()
        client = self.world.memory.client("llama-operator", interceptor=Guard(self.copies, inner))
        self.world.ports = self.world.ports_with(client)
        log = HashChainLog(self._lines.append, NoAnchor(), default_image="x")
        await log.begin("term", "0" * 64, self.world.clock.now)
        object.__setattr__(self.world.ports, "evidence", log)

    async def settle(self, *refs, count=2):
        while True:
            try:
                await self.copies.passes(*refs, count=count)
                break
            except CrashError:
                self._crashed = True
                await self.operator()
        # What has to be the same at the end is of the cluster and of the evidence.
        state = state_of(self.world.memory) + "".join(self.evidence())
        if self.course is None:
            self._landmarks.note(state)
        elif self.course.leads_there(state, crashed=self._crashed):
            raise Known

    async def end(self, verdict="Verified", *, erase=False, **told):
        """The Job that runs ends, unless it did before a crash."""
        job = await self.copies.job(erase=erase)
        if not job.get("status", {}).get("conditions"):
            await self.copies.end(verdict, job=job, **told)

    async def serve(self):
        for name in await self.copies.services():
            await self.world.serve(name, NAMESPACE)

    async def serving(self, *refs):
        """The deployments with a verified copy, and engines that serve."""
        await self.settle(*refs)
        await self.end()
        await self.settle(*refs)
        await self.serve()
        await self.settle(*refs)

    async def license(self, name=ACCEPTANCE, **changed):
        live = await self.world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
        spec = {key: value for key, value in live["spec"].items() if key != "terminatedOn"} | changed
        obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": name}, "spec": spec}
        await self.world.user.apply(obj)

    async def end_license(self):
        self.copies.to_erase = {claim["metadata"]["name"] for claim in await self.copies.claims()}
        await self.license(state="Terminated", terminatedOn="2026-03-01")

    def evidence(self):
        """What the lines say of copies, each once: another operator writes again what it cannot know to be written."""
        said = (json.dumps(json.loads(line).get("copies"), sort_keys=True) for line in self._lines)
        return list(dict.fromkeys(said))


async def play_through(make_copies, script, crashes, landmarks):
    copies = await make_copies()
    play = Play(copies, crashes, landmarks)
    await play.operator()
    await script(copies, play)
    ended = {"evidence": play.evidence(), "jobs": [job["metadata"]["name"] for job in await unfinished(copies)]}
    for kind in (kinds.RAY_SERVICE, kinds.CONTROLLER_REVISION, kinds.PERSISTENT_VOLUME_CLAIM):
        for item in (await copies.world.user.list(kind)).items:
            notes = {
                name: value
                for name, value in item["metadata"].get("annotations", {}).items()
                if "weights" in name or "/user." in name
            }
            owners = sorted(owner["name"] for owner in item["metadata"].get("ownerReferences", ()))
            ended[kind.kind, item["metadata"]["name"]] = [item.get("spec") or item.get("data"), notes, owners]
    for item in (await copies.world.user.list(kinds.LLAMA_DEPLOYMENT)).items:
        ended["status", item["metadata"]["name"]] = item["status"].get("weights")
    return ended, play


async def unfinished(copies):
    """Jobs that run; one that has ended may stay for a while."""
    jobs = (await copies.world.user.list(kinds.JOB, namespace=NAMESPACE)).items
    return [job for job in jobs if not job.get("status", {}).get("conditions")]


async def every_crash(make_copies, script, *, least):
    landmarks = Landmarks()
    expected, play = await play_through(make_copies, script, [], landmarks)
    first, total = play.first, play.writes()
    assert total - first >= least
    for writes in range(first, total + 1):
        with suppress(Known):
            ended, play = await play_through(make_copies, script, [writes], landmarks)
            assert ended == expected, f"crash after write {writes} of {total}"
            assert play.writes() <= total + 3, "work that was done is not done again"
            play.course.ended_well()


async def two_share_a_copy_that_fails_once(copies, play):
    first, second = await copies.apply("chat"), await copies.apply("other")
    await play.settle(first, second)
    await play.end("Unreachable")
    await play.settle(first, second)
    copies.world.clock.advance(60)
    await play.serving(first, second)
    await copies.world.user.delete(first)
    await play.settle(second)


async def the_first_leaves_while_it_copies_for_both(copies, play):
    first, second = await copies.apply("chat"), await copies.apply("other")
    await play.settle(first, second)
    play.begin()
    await copies.world.user.delete(first)
    copies.world.clock.advance(60)
    await play.serving(second)
    assert len(await copies.services()) == 1


async def the_source_changes(copies, play):
    ref = await copies.apply()
    await play.serving(ref)
    play.begin()
    await copies.apply(model=OTHER)
    await play.serving(ref)
    # A process that has just begun watches a deadline for a while before it counts.
    for _ in range(2):
        copies.world.clock.advance(4000)
        await play.settle(ref)


async def the_source_changes_while_it_is_copied(copies, play):
    ref = await copies.apply()
    await play.settle(ref)
    play.begin()
    await copies.apply(model=OTHER)
    await play.settle(ref)
    await play.serving(ref)
    assert len(await copies.claims()) == 1, "the claim of the first source went with it"


def fails_first(verdict, seconds):
    async def script(copies, play):
        ref = await copies.apply()
        await play.settle(ref)
        play.begin()
        await play.end(verdict, message="the words of the program", file="model-00002.safetensors")
        await play.settle(ref)
        assert not await copies.services()
        copies.world.clock.advance(seconds)
        await play.serving(ref)
        assert len(await copies.services()) == 1

    return script


async def the_token_expires_half_way(copies, play):
    ref = await copies.apply()
    await play.settle(ref)
    play.begin()
    await play.end("TokenInvalid", message="401", bytes=8_000_000_000, files=5)
    await play.settle(ref)
    await copies.apply(weights={"tokenSecret": {"name": "other", "key": "hf"}, "cache": {"mode": "Claim"}})
    await play.serving(ref)
    assert len(await copies.services()) == 1


async def the_license_ends_while_it_is_copied(copies, play):
    ref = await copies.apply()
    await play.settle(ref)
    await play.end_license()
    await play.settle(ref)
    await play.end("Erased", erase=True, bytes=8_000_000_000, files=5)
    await play.settle(ref)
    await gone(copies)


async def the_license_ends_and_erasing_fails_first(copies, play):
    ref = await copies.apply()
    await play.serving(ref)
    await play.end_license()
    play.begin()
    await play.settle(ref)
    # As above: a deadline counts from when a process has seen it.
    for _ in range(2):
        copies.world.clock.advance(4000)
        await play.settle(ref)
    await play.end("Failed", erase=True, message="files are open on NFS")
    await play.settle(ref)
    copies.world.clock.advance(400)
    await play.settle(ref)
    await play.end("Erased", erase=True)
    await play.settle(ref)
    await gone(copies)


async def the_license_of_both_ends(copies, play):
    first, second = await copies.apply("chat"), await copies.apply("other")
    await play.settle(first, second)
    await play.end()
    await play.settle(first, second)
    await play.end_license()
    play.begin()
    await play.settle(first, second)
    await play.end("Erased", erase=True)
    await play.settle(first, second)
    await gone(copies)


async def a_new_license_after_the_end(copies, play):
    await the_license_ends_while_it_is_copied(copies, play)
    copies.to_erase = set()
    play.begin()
    copies.world.clock.advance(60)
    await play.license("acme-newer", state="Accepted")
    ref = Ref(kinds.LLAMA_DEPLOYMENT, NAMESPACE, "chat")
    declared = (await copies.live(ref))["spec"]["license"] | {"acceptance": "acme-newer"}
    await copies.apply(license=declared)
    await play.serving(ref)
    assert len(await copies.services()) == 1


async def gone(copies):
    assert not await copies.claims()
    assert not await copies.jobs()
    assert not await copies.jobs(erase=True)


FLOWS = {
    "two share a copy that fails once": two_share_a_copy_that_fails_once,
    "the first leaves while it copies for both": the_first_leaves_while_it_copies_for_both,
    "the source changes": the_source_changes,
    "the source changes while it is copied": the_source_changes_while_it_is_copied,
    "no space": fails_first("NoSpace", 61),
    "wrong digest": fails_first("Mismatch", 61),
    "the token expires half-way": the_token_expires_half_way,
    "the license ends while it is copied": the_license_ends_while_it_is_copied,
    "the license ends and erasing fails first": the_license_ends_and_erasing_fails_first,
    "the license of both ends": the_license_of_both_ends,
    "a new license after the end": a_new_license_after_the_end,
}


_LONG = {
    "two share a copy that fails once",
    "the first leaves while it copies for both",
    "the source changes",
    "the license ends and erasing fails first",
    "a new license after the end",
}
"""Left to the nightly run: each joins what two of the others have."""


@pytest.mark.parametrize(
    "flow", [pytest.param(name, marks=pytest.mark.nightly) if name in _LONG else name for name in FLOWS]
)
async def test_a_crash_after_any_write_leads_to_the_same_end(make_copies, flow):
    await every_crash(make_copies, FLOWS[flow], least=5)
