"""One deployment in a world of the transition tests, and what happens to it. Used where what it is told as is tested."""

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_serving.contract.status import DeploymentIdentity, ServingStatus


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


class Stage:
    """One deployment and what happens to it; every status that was written is kept."""

    def __init__(self, world):
        world.compares = False
        self.world = world
        self.said = []

    async def look(self):
        self.status = await self.world.reconcile(self.ref)
        self.live = await self.world.user.get(self.ref)
        self.said.append(self.status)
        return self.status

    async def begin(self, **spec):
        self.ref = await self.world.apply_sample("tiny-cpu", **spec)
        self.spec = spec
        await self.look()
        (self.first,) = await self.world.names(kinds.RAY_SERVICE)

    async def change(self, **spec):
        self.spec |= spec
        await self.world.apply_sample("tiny-cpu", **self.spec)
        await self.look()

    async def says(self, revision="", **words):
        """KubeRay and Serve say something about a revision, the first one if none is named."""
        await self.world.serve(revision or self.first, **words)
        await self.look()

    async def serve(self, **spec):
        await self.begin(**spec)
        await self.says()
        self.world.clock.advance(600)
        await self.look()

    async def wait(self, seconds):
        self.world.clock.advance(seconds)
        await self.look()
        await self.look()

    async def newer(self):
        (found,) = set(await self.world.names(kinds.RAY_SERVICE)) - {self.first}
        return found

    async def delete(self, kind, name):
        await self.world.user.delete(Ref(kind, "default", name))
        await self.look()

    def pods(self, *, running, wanted):
        identity = DeploymentIdentity(namespace="default", name="tiny", revision=self.first)
        self.world.reader.answer = ServingStatus(
            identity=identity,
            model_id="m",
            replicas=running,
            target_replicas=wanted,
            queue_depth=0,
            running_requests=0,
        )
