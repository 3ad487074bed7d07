"""`kubectl llama run`: serves a manifest on this machine, without Kubernetes, and shows its progress."""

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from llama_operator import catalog
from llama_operator.cli.run import chat, status_table
from llama_operator.cli.run.progress_lines import ProgressLines
from llama_operator.cli.run.session import LocalSession, RunFailedError, weights_folder
from llama_operator.cli.run.tenant_keys import TenantKeys, keys_for
from llama_operator.cli.run.tour import tour
from llama_operator.cli.shared import files, output
from llama_operator.cli.shared.exit_codes import EXIT_DOES_NOT_FIT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from llama_operator.cli.shared.options import filled
from llama_operator.cli.shared.outcome import exit_code, raise_if_invalid
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.errors import LlamaOperatorError


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for on the command line."""

    file: list[str]
    name: str | None = None
    once: str | None = None
    tour: bool = False
    port: int | None = None
    weights: str | None = None
    tenant: list[str] | None = None


def command(options: RunOptions) -> int:
    """Serve the manifest until Ctrl-C, or for one prompt; returns the exit code."""
    manifests = files.read(options.file, name=options.name)
    if options.tenant and (options.once is not None or options.tour):
        raise LlamaOperatorError("--tenant is for clients of your own, which send the key; leave --once and --tour out")
    if manifests.deployment.spec.model.chat_template is not None:
        raise LlamaOperatorError(
            "spec.model.chatTemplate names a ConfigMap, and local mode mounts none: leave it out here"
        )
    if (refused := _refused(manifests)) is not None:
        return refused
    with keys_for(options.tenant or (), secrets.token_bytes) as keys:
        return asyncio.run(_run(manifests, options, keys, output.console()))


def _refused(manifests: files.Manifests) -> int | None:
    """Refuse before anything is started what the reconcile would refuse; returns the exit code, or None."""
    # What the reconcile will see: the files are all there is, so what is not in them does not exist.
    observed = Observed(
        manifests.deployment,
        acceptances=manifests.acceptances,
        models=manifests.models,
        policies=manifests.policies,
        now=datetime.now(UTC),
    )
    decision = decide(observed, catalog.load())
    problem = decision.problem
    if problem is None:
        chosen = decision.plan.chosen if decision.plan else None
        if chosen is not None and chosen.accelerator.device == "GPU":
            needed = f"{chosen.sharding.ranks} {chosen.accelerator.name}; the local mode runs on the CPU"
            cure = "set spec.hardware.accelerator to CPU and take a small model"
            print(f"error: the plan needs {needed}: {cure}", file=sys.stderr)
            return EXIT_DOES_NOT_FIT
        return None
    raise_if_invalid(observed, decision)
    print(f"error: {problem.reason}: {problem.text}", file=sys.stderr)
    return exit_code(decision)


async def _run(manifests: files.Manifests, options: RunOptions, keys: TenantKeys, console: Console) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # SIGHUP: the terminal was closed. Ray has sessions of its own, and would go on.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup it is to go on without a terminal.
        if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
            loop.add_signal_handler(number, stopped.set)
    serving = asyncio.create_task(_serve(manifests, options, keys, console))
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        return serving.result()
    serving.cancel()
    # Nobody reads it where the terminal has gone.
    with contextlib.suppress(OSError):
        console.print("stopping …")
    await asyncio.gather(serving, return_exceptions=True)
    return EXIT_INTERRUPTED


async def _serve(manifests: files.Manifests, options: RunOptions, keys: TenantKeys, console: Console) -> int:
    metadata = manifests.deployment.metadata
    with ProgressLines(console) as lines:
        session = LocalSession(
            manifests,
            port=options.port,
            weights=weights_folder(options.weights),
            keys_folder=keys.folder,
            on_progress=lines.show,
        )
        async with session:
            try:
                url = await session.ready()
            except RunFailedError as error:
                lines.close()
                console.print(Text.assemble(("✗ ", "bold red"), str(error)))
                return EXIT_FAILED
            lines.close()
            model = catalog.load().model(manifests.deployment.spec.model.name).served_name
            console.print(f"[bold green]✓[/] {metadata.namespace}/{metadata.name} serves at [bold]{url}[/]")
            if options.once is not None:
                console.print(await chat.answer(url, model, options.once), markup=False)
                status_table.show(console, session.ref, session.status)
                return EXIT_OK
            if options.tour:
                return await tour(session, url, model, console)
            for tenant, key in keys.by_tenant:
                console.print(f"key of {tenant}: {key.text}", markup=False, soft_wrap=True)
            console.print(chat.curl(url, model, with_key=bool(keys.folder)), markup=False, soft_wrap=True)
            console.print("Ctrl-C stops it.")
            await _show_changes(session, console)
    return EXIT_OK


async def _show_changes(session: LocalSession, console: Console) -> None:
    before = session.status
    while True:
        status = await session.next_status()
        if (status.replicas, status.ready_replicas) != (before.replicas, before.ready_replicas):
            console.print(f"replicas {status.ready_replicas}/{status.replicas}, queue depth {status.queue_depth}")
        before = status


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return command(filled(RunOptions, arguments))
