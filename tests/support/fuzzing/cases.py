"""One fuzz case: a world is drawn, a deployment comes into it, and then things happen to both. Run by `tests/fuzz`."""

import asyncio
import json
from collections.abc import Callable

from hypothesis import strategies as st

from support.fuzzing.setup import cards, licenses, models, nodes
from support.fuzzing.specs import BASES, Draw, apply, changed, manifest
from support.fuzzing.steps import STEPS, serves
from support.fuzzing.world import NAME, World

MOST_STEPS = 3


def run_case(draw: Draw, note: Callable[[str], None]) -> None:
    """Run one case.

    Args:
        draw: Draws a value.
        note: Takes what happened, for people who read a failing case.

    Raises:
        AssertionError: If something does not hold after a pass.
        Exception: Whatever escaped a pass.
    """
    asyncio.run(_run(draw, note))


async def _run(draw: Draw, note: Callable[[str], None]) -> None:
    world = World(checks_access=draw(st.integers(0, 3)) == 3)
    await nodes(world, draw)
    await licenses(world, draw)
    await models(world, draw)
    await cards(world, draw)
    spec, _ = changed(draw, "LlamaDeployment", draw(st.sampled_from(BASES)), 4)
    note(f"spec {json.dumps(spec)}")
    await apply(world, manifest("LlamaDeployment", NAME, spec))
    await world.settle()
    if draw(st.integers(0, 3)):
        await serves(world)
    for _ in range(draw(st.integers(1, MOST_STEPS))):
        step = draw(st.sampled_from(STEPS))
        note(step.__name__)
        check = await step(world, draw)
        await world.settle()
        if check is not None:
            await check()
    match draw(st.integers(0, 5)):
        case 4:
            await world.watch()
        case 5:
            await world.look_at_records()
