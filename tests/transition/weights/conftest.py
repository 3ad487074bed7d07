"""A world with copies of weights: what a volume controller, a Job controller and a kubelet would do is given by the test."""

import json

import pytest

from llama_operator import catalog
from llama_operator.api.meta import rfc3339
from llama_operator.evidence.log import HashChainLog, NoAnchor
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

SAMPLE, NAMESPACE = "llama-3.1-8b-l4", "team-a"
SECRET = {"name": "hugging-face", "key": "token"}
DIGEST = "sha256:" + "a" * 64
SIZE = 16_100_000_000


class Copies:
    """Deployments of one namespace whose weights are copied, and what the cluster does with their Jobs."""

    def __init__(self, world):
        self.world = world
        world.ports = world.ports_with(world.memory.client("llama-operator"))
        self.kubelet = world.memory.client("kubelet")

    async def prepare(self):
        await self.world.apply_acceptance()
        await self.world.add_node("l4", product="NVIDIA-L4", gpus=1)

    async def accept(self, family):
        """Record the acceptance of another license version, by the same entity on the same day."""
        live = await self.world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-1"))
        known = catalog.load().license_family(family)
        spec = live["spec"] | {"families": [family], "versionDate": known.version_date}
        spec["textHashes"] = [*known.license_text_hashes[:1], *known.policy_text_hashes[:1]]
        spec["monthlyActiveUsers"] = spec["monthlyActiveUsers"] | {"month": known.active_users_month}
        obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": family.replace(".", "-")}}
        await self.world.user.apply(obj | {"spec": spec})

    async def apply(self, name="chat", *, cache=None, **spec):
        weights = {"tokenSecret": SECRET, "cache": {"mode": "Claim"} | (cache or {})}
        return await self.world.apply_sample(SAMPLE, name=name, **({"weights": weights} | spec))

    async def passes(self, *refs, count=4):
        """Passes of some deployments in turn; returns the conditions of the last."""
        for _ in range(count):
            for ref in refs:
                status = await self.world.reconcile(ref)
        return {each.type: each for each in status.conditions}

    async def jobs(self, *, erase=False):
        found = (await self.world.user.list(kinds.JOB, namespace=NAMESPACE)).items
        task = "erase" if erase else "copy"
        ours = [job for job in found if job["metadata"]["annotations"].get("llama-operator.io/weights-task") == task]
        return sorted(ours, key=lambda job: int(job["metadata"]["annotations"]["llama-operator.io/attempt"]))

    async def job(self, **kind):
        return (await self.jobs(**kind))[-1]

    async def claims(self):
        return (await self.world.user.list(kinds.PERSISTENT_VOLUME_CLAIM, namespace=NAMESPACE)).items

    async def claim(self):
        (only,) = await self.claims()
        return only

    async def bind(self):
        """Every claim gets a volume."""
        for claim in await self.claims():
            status = {"phase": "Bound", "capacity": claim["spec"]["resources"]["requests"]}
            metadata = {"name": claim["metadata"]["name"], "namespace": NAMESPACE}
            obj = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
            await self.kubelet.apply_status(obj | {"status": status})

    async def end(self, verdict="Verified", *, erase=False, job=None, text=None, **told):
        """The newest Job's pod ends with a verdict (or with `text`), and the Job with it."""
        live = job or await self.job(erase=erase)
        said = {"verdict": verdict, "files": 12, "bytes": SIZE, "seconds": 800.5} | told
        if verdict == "Verified":
            said |= {"digest": DIGEST, "commit": "0" * 40}
        good = verdict in {"Verified", "Erased"}
        code = 0 if good else 1 if verdict in {"Unreachable", "Stalled", "Failed"} else 3
        ended = {"exitCode": code, "reason": "Completed" if good else "Error"}
        ended["message"] = json.dumps(said) if text is None else text
        await self.pod(live, {"terminated": ended})
        condition = {"type": "Complete" if good else "Failed", "status": "True"}
        condition["lastTransitionTime"] = rfc3339(self.world.clock.now)
        await self.finish(live, condition)

    async def finish(self, job, condition):
        metadata = {"name": job["metadata"]["name"], "namespace": NAMESPACE}
        address = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
        await self.kubelet.apply_status(address | {"status": {"conditions": [condition]}})

    async def pod(self, job, state, number=0, **status):
        name, template = job["metadata"]["name"], job["spec"]["template"]
        labels = template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": name}
        metadata = {"name": f"{name}-{number}", "namespace": NAMESPACE, "labels": labels}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        metadata["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        address = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        await self.kubelet.apply({**address, "spec": template["spec"]})
        if state is not None:
            container = {"name": "weights", "state": state, "image": "x", "imageID": "", "ready": False}
            status["containerStatuses"] = [container | {"restartCount": 0}]
        await self.kubelet.apply_status({**address, "status": {"phase": "Pending", **status}})

    async def services(self):
        return await self.world.names(kinds.RAY_SERVICE)

    async def serving(self, ref):
        """The deployment with a verified copy and a revision that serves; returns its name."""
        await self.passes(ref)
        await self.bind()
        await self.end()
        await self.passes(ref)
        (service,) = [name for name in await self.services() if name.startswith(ref.name)]
        await self.world.serve(service, NAMESPACE)
        await self.passes(ref)
        return service

    async def live(self, ref):
        return await self.world.user.get(ref)

    async def delete_claim(self, name):
        await self.world.user.delete(Ref(kinds.PERSISTENT_VOLUME_CLAIM, NAMESPACE, name))


@pytest.fixture
async def copies(world):
    made = Copies(world)
    await made.prepare()
    return made


@pytest.fixture
def make_copies(make_world):
    async def make():
        made = Copies(make_world())
        await made.prepare()
        return made

    return make


@pytest.fixture
async def lines(copies, world):
    """The evidence that is written, and its lines."""
    written = []
    log = HashChainLog(written.append, NoAnchor(), default_image="x")
    await log.begin("term", "0" * 64, world.clock.now)
    world.ports = world.ports_with(world.memory.client("llama-operator"))
    object.__setattr__(world.ports, "evidence", log)
    return lambda: [json.loads(line) for line in written]
