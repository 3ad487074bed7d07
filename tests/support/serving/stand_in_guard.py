"""An application whose guard says what a test wants. Serve imports `build` in the pods of a test in place of `llama_serving.app`.

The generated model cannot classify. Its engine runs as that of any guard, and its words count where the test says so.
"""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

FILE = "stand-in-guard.json"
"""In the folder for temporary files of the cluster; see `Says`."""


def build(args: dict[str, Any]) -> Any:
    """Build the application of `llama_serving.app`, with another guard."""
    # Here, because a test reads this module too, and never imports Ray.
    from llama_serving import app  # noqa: PLC0415

    return app.build_with(args, guard_class="support.serving.stand_in_guard_server.StandInGuard")


def said_now(folder: Path | None = None) -> dict[str, Any]:
    """Return what the guard shall say now: `unsafe` (text to category), `words`, `hangs`, `fails`, `dies`, `asks_model`.

    `fails` and `dies` are texts: it does so when it reads one.
    """
    file = (folder or Path(tempfile.gettempdir())) / FILE
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


async def instead(turns: list[dict[str, str]]) -> str | None:
    """Return the answer of the guard; None if its model shall be asked."""
    says = said_now()
    last = turns[-1]["content"]
    if (dies := says.get("dies")) is not None and dies in last:
        os._exit(1)
    if (fails := says.get("fails")) is not None and fails in last:
        raise RuntimeError("as the test wants")
    if says.get("hangs"):
        await asyncio.sleep(3600)
    if says.get("asks_model"):
        return None
    if "words" in says:
        return str(says["words"])
    # A grammar leaves the blanks between the parts of a call of a tool to the model.
    squeezed = "".join(last.split())
    hits = [category for marker, category in says.get("unsafe", {}).items() if marker in last or marker in squeezed]
    return f"\n\nunsafe\n{','.join(hits)}" if hits else "\n\nsafe"
