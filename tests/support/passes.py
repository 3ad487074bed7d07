"""A deployment that serves, and passes until one writes nothing. For tests on the world of `tests/transition`."""

from llama_operator.kube import kinds


def condition(status, kind):
    return next(found for found in status.conditions if found.type == kind)


async def serving(world, **spec):
    """A deployment of the tiny sample that serves; its address and the name of its revision."""
    ref = await world.apply_sample("tiny-cpu", **spec)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    await world.reconcile(ref)
    return ref, name


async def settles(world, ref):
    """Look until a pass writes nothing; returns the last status."""
    for _ in range(6):
        before = len(world.memory.writes)
        status = await world.reconcile(ref)
        if len(world.memory.writes) == before:
            return status
    raise AssertionError("does not settle")
