"""Shares limits between two replicas over a real actor of Ray, kills it, and prints what was admitted.

A process of its own with a Ray of its own: see tests/serving/test_usage.py.
"""

import asyncio
import contextlib
import json
import sys

import ray

from llama_serving.contract.tenants import TenantLimits
from llama_serving.desk.amounts import Amount, Short, Shortage
from llama_serving.desk.leases import Leases
from llama_serving.desk.ledger_actor import RayBank, moment


async def answered(leases, limits, tokens):
    """Return the reservation, or which limit is short, as the ledger says once it knows what was spent."""

    while True:
        got = await leases.reserve(limits, Amount(requests=1, tokens=tokens))
        if not isinstance(got, Shortage):
            return got
        if got.short is not Short.LEDGER:
            return got.short.value
        await asyncio.sleep(0.2)


async def gone(actor):
    """Wait until the process of the actor has ended."""
    with contextlib.suppress(ray.exceptions.RayError):
        while True:
            await actor.secret.remote()
            await asyncio.sleep(0.01)


async def main():
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    banks = [RayBank(), RayBank()]
    fleet = [Leases(bank, replica=f"r{number}", clock=moment) for number, bank in enumerate(banks)]
    requests = TenantLimits(name="rate", requests_per_minute=10)
    budget = TenantLimits(name="budget", tokens_per_day=1000)
    need = Amount(requests=1, tokens=100, slots=1)
    said = {"secrets": len({await bank.secret() for bank in banks})}

    got = await asyncio.gather(*(fleet[number % 2].reserve(requests, need) for number in range(50)))
    said["admitted of 50 with a limit of 10"] = sum(not isinstance(one, Shortage) for one in got)
    got = await fleet[0].reserve(budget, Amount(requests=1, tokens=100))
    said["a budget of a new cluster"] = "not known" if isinstance(got, Shortage) else "known"
    if not isinstance(got, Shortage):
        fleet[0].settle("budget", got, 100)
    for _ in range(3):
        fleet[0].settle("budget", await answered(fleet[0], budget, 100), 100)

    # As in a replica, they go on talking.
    running = [asyncio.create_task(leases.run()) for leases in fleet]
    actor = await banks[0]._find()
    ray.kill(actor, no_restart=False)
    await gone(actor)
    said["after its restart"] = not isinstance(await answered(fleet[0], budget, 300), str)
    # 400 of 1000 are spent, 300 are reserved now, and 50 may be booked ahead; the other replica may have the rest.
    said["more than is left"] = await answered(fleet[1], budget, 301)
    said["what is left"] = not isinstance(await answered(fleet[1], budget, 250), str)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    sys.stdout.write(json.dumps(said) + "\n")
    ray.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
