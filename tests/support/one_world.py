"""Two readers of one world: the operator's reconcile, and `kubectl llama diff` for a manifest that is applied already.

Called after every pass of the transition tests: both must come to the same decision.
"""

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.cli.diff.command import compare
from llama_operator.cli.diff.difference import Difference
from llama_operator.cli.shared import files
from llama_operator.cli.shared.connection import Connection
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.platform import Platform
from llama_operator.errors import InvalidManifestError
from llama_operator.kube.port import NotFoundError
from llama_operator.observe.gather import Observer

_COMPARED: dict[bytes, bool] = {}


async def decided(world, ref) -> Decision:
    """What the operator decides about the world as it is now."""
    settings = world.ports.settings
    checks_access = settings.checks_access and not settings.weights_path
    observer = Observer(world.user, catalog.load(), world.reader, checks_access=checks_access)
    return decide(await observer.observe(ref, world.clock()), catalog.load())


async def compared(world, ref) -> Difference:
    """What the command computes for the live spec, read from a file as a person would have it."""
    live = await world.user.get(ref)
    manifest = {name: live[name] for name in ("apiVersion", "kind", "spec")} | {"metadata": {"name": ref.name}}
    connection = Connection(
        cluster=world.user,
        logs=world.user,
        services=world.user,
        namespace=ref.namespace,
        now=world.clock,
        platform=_platform,
    )
    return await compare(connection, _read(manifest), None)


async def agree(world, ref) -> bool:
    """Hold both against each other; whether there was something to compare.

    What only the pods know may differ, and only if the command says that it does not know it.

    A flow that is played again and again, each time with a crash at another place, comes through the same worlds: each
    is compared once.
    """
    seen = _fingerprint(world, ref)
    if seen not in _COMPARED:
        _COMPARED[seen] = await _agree(world, ref)
    return _COMPARED[seen]


def _fingerprint(world, ref) -> bytes:
    """All that either of them reads."""
    outside = (
        ref,
        world.clock(),
        world.reader.answer,
        world.ports.settings,
        sorted(world.memory._logs.items(), key=str),
    )
    digest = hashlib.sha256(repr(outside).encode())
    for stored in world.memory._store:
        # The state as bytes, which it keeps: rendering all objects again would take as long as the comparison.
        if not stored._answers:
            stored.to_object()
        digest.update(stored._answers[0] if stored._answers else repr(stored).encode())
    return digest.digest()


async def _agree(world, ref) -> bool:
    try:
        parse(await world.user.get(ref))
    except (NotFoundError, InvalidManifestError):
        return False
    difference, decision = await compared(world, ref), await decided(world, ref)
    assert difference.changed == ()
    if difference.unseen:
        assert world.reader.answer is not None
        assert all("only the operator can ask the pods" in why for why in difference.unseen)
        return False
    # Whether a head is about to lose its node is read from pods, which the command leaves alone.
    assert difference.decision == replace(decision, move=None)
    return True


def _read(manifest) -> files.Manifests:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "live.yaml")
        path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
        return files.read([str(path)])


async def _platform():
    return Platform()
