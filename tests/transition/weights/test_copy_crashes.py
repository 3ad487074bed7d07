"""The operator may end after any write: another one takes up where it was, and comes to the same end."""

from llama_operator.kube import kinds
from llama_operator.kube.twin.journal import PassThrough
from support.faults import CrashAfter, CrashError

NAMESPACE = "team-a"
OTHER = {"name": "llama-3.1-8b", "precision": "BF16", "variant": "meta-llama/Llama-3.1-8B"}


class Guard:
    """No RayService before its copy is verified, and no claim goes that one of them reads, judged after every write."""

    def __init__(self, copies, inner):
        self._copies, self._inner = copies, inner

    def before(self, write):
        self._inner.before(write)

    def after(self, write):
        here = [stored.to_object() for stored in self._copies.world.memory._store]
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
        self._inner.after(write)


async def play_through(make_copies, script, crashes):
    copies, lives = await make_copies(), list(crashes)
    # What a person is told is compared in the flows without a crash.
    copies.world.compares = not crashes

    def operator():
        inner = CrashAfter(lives.pop(0)) if lives else PassThrough()
        client = copies.world.memory.client("llama-operator", interceptor=Guard(copies, inner))
        copies.world.ports = copies.world.ports_with(client)

    async def play(step):
        while True:
            try:
                return await step()
            except CrashError:
                operator()

    operator()
    await script(copies, play)
    ended = {}
    for kind in (kinds.RAY_SERVICE, kinds.CONTROLLER_REVISION, kinds.PERSISTENT_VOLUME_CLAIM):
        for item in (await copies.world.user.list(kind)).items:
            notes = {
                name: value
                for name, value in item["metadata"].get("annotations", {}).items()
                if "weights" in name or "/user." in name
            }
            owners = sorted(owner["name"] for owner in item["metadata"].get("ownerReferences", ()))
            ended[kind.kind, item["metadata"]["name"]] = [item.get("spec") or item.get("data"), notes, owners]
    return ended, sum(1 for write in copies.world.memory.writes if write.manager == "llama-operator")


async def every_crash(make_copies, script, *, least):
    expected, total = await play_through(make_copies, script, [])
    assert total >= least
    for writes in range(total + 1):
        ended, count = await play_through(make_copies, script, [writes])
        assert ended == expected, f"crash after write {writes} of {total}"
        assert count <= total + 3, "work that was done is not done again"


async def serve_all(copies):
    for name in await copies.services():
        await copies.world.serve(name, NAMESPACE)


async def end_once(copies, verdict="Verified", **told):
    """The Job that runs ends, unless it did before the crash."""
    job = await copies.job()
    if not job.get("status", {}).get("conditions"):
        await copies.end(verdict, job=job, **told)


async def test_two_deployments_a_failure_and_a_shared_copy(make_copies):
    async def script(copies, play):
        first, second = await copies.apply("chat"), await copies.apply("other")

        async def settle():
            await copies.passes(first, second, count=2)

        await play(settle)
        await end_once(copies, "Unreachable")
        await play(settle)
        copies.world.clock.advance(60)
        await play(settle)
        await end_once(copies)
        await play(settle)
        await serve_all(copies)
        await play(settle)
        await copies.world.user.delete(first)

        async def alone():
            await copies.passes(second, count=2)

        await play(alone)

    await every_crash(make_copies, script, least=15)


async def test_the_source_changes(make_copies):
    async def script(copies, play):
        ref = await copies.apply()

        async def settle():
            await copies.passes(ref, count=2)

        await play(settle)
        await end_once(copies)
        await play(settle)
        await serve_all(copies)
        await play(settle)
        await copies.apply(model=OTHER)
        await play(settle)
        await end_once(copies)
        await play(settle)
        await serve_all(copies)
        await play(settle)
        # A process that has just begun watches a deadline for a while before it counts.
        for _ in range(2):
            copies.world.clock.advance(4000)
            await play(settle)

    await every_crash(make_copies, script, least=15)
