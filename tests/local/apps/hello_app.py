"""A trivial Serve application, so that the local runtime is tested with real Ray and without an engine."""

import os
from typing import Any

from ray import serve
from starlette.requests import Request


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Hello:
    def __init__(self, greeting: str) -> None:
        self._greeting = greeting

    async def __call__(self, request: Request) -> dict[str, str]:
        return {"greeting": self._greeting, "from_manifest": os.environ.get("FROM_MANIFEST", "")}


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application; its only argument is what it answers."""
    return Hello.bind(args["greeting"])
