"""The guard of `stand_in_guard`: the real one, except for what it says."""

from typing import Any

from typing_extensions import override

from llama_serving.replicas import GuardServer
from support.serving.stand_in_guard import instead


class StandInGuard(GuardServer):
    """The real guard, with an engine and a chat template; a test says what it answers."""

    @override
    async def answer(self, turns: list[dict[str, str]], salt: str) -> Any:
        """Return what the test wants, or what the model says."""
        said = await instead(turns)
        return await super().answer(turns, salt) if said is None else said
