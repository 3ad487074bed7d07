"""`kubectl llama top`: what replicas do now, once or again and again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llama_operator.api.meta import rfc3339
from llama_operator.cli.get import rows
from llama_operator.cli.get.rows import GetOptions
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import Connection, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.cli.top import frame, samples
from llama_operator.cli.top.samples import Sample
from llama_operator.kube.port import UnavailableError

if TYPE_CHECKING:
    from rich.console import Console, Group


@dataclass(frozen=True, slots=True)
class TopOptions:
    """What the user asked for on the command line."""

    name: str | None = None
    all_namespaces: bool = False
    watch: bool = False
    every: float = 2.0
    sort_by: str = "name"
    as_json: bool = False


async def command(connection: Connection, options: TopOptions) -> int:
    """Print what the deployments that `options` names do now; with `watch`, until the user ends it by Ctrl-C."""
    if options.watch:
        await _again_and_again(connection, options)
        return EXIT_OK
    found = await _look(connection, options)
    if options.as_json:
        documents = [frame.document(one) for one in found]
        output.print_json(documents[0] if options.name else {"items": documents})
        return EXIT_OK
    _show(output.console(), connection, options, found)
    return EXIT_OK


def _show(console: "Console", connection: Connection, options: TopOptions, found: Sequence[Sample]) -> None:
    if not found:
        console.print(_nothing(connection, options))
        return
    output.show_table(console, frame.table(found, namespaces=options.all_namespaces))
    for note in frame.notes(found, namespaces=options.all_namespaces):
        console.print(note, markup=False)


async def _look(connection: Connection, options: TopOptions) -> list[Sample]:
    read = await rows.read(connection, GetOptions(name=options.name, all_namespaces=options.all_namespaces))
    return frame.ordered(await samples.taken(connection, read), options.sort_by)


async def _looks(connection: Connection, options: TopOptions) -> AsyncIterator[list[Sample] | UnavailableError]:
    """Look again and again; an API server that does not answer for a while ends nothing, once it has answered."""
    yield await _look(connection, options)
    while True:
        await asyncio.sleep(options.every)
        try:
            found: list[Sample] | UnavailableError = await _look(connection, options)
        except UnavailableError as error:
            found = error
        yield found


async def _again_and_again(connection: Connection, options: TopOptions) -> None:
    console = output.console()
    if console.is_terminal and not options.as_json:
        await _in_place(console, connection, options)
        return
    async for found in _looks(connection, options):
        if isinstance(found, UnavailableError):
            output.console(errors=True).print(_missed(connection, found), markup=False)
        elif options.as_json:
            items = [frame.document(one) for one in found]
            output.print_json_line({"time": rfc3339(connection.now()), "items": items})
        else:
            _show(console, connection, options, found)


async def _in_place(console: "Console", connection: Connection, options: TopOptions) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    seen: Sequence[Sample] = ()
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        async for found in _looks(connection, options):
            missed = [_missed(connection, found)] if isinstance(found, UnavailableError) else []
            seen = seen if isinstance(found, UnavailableError) else found
            screen = _screen(console, seen, options) if seen else Text(_nothing(connection, options))
            live.update(Group(screen, *map(Text, missed)), refresh=True)


def _missed(connection: Connection, error: UnavailableError) -> str:
    """Say that a look found nothing out, and when."""
    return f"no look at {rfc3339(connection.now())}: {' '.join(str(error).split())}"


def _screen(console: "Console", found: Sequence[Sample], options: TopOptions) -> "Group":
    from rich.console import Group
    from rich.text import Text

    namespaces = options.all_namespaces
    table, left_out = output.fitted(console, frame.table(found, namespaces=namespaces), frame.SPARE)
    notes = [*frame.notes(found, namespaces=namespaces), *output.narrow_note(left_out)]
    return Group(table, *map(Text, notes))


def _nothing(connection: Connection, options: TopOptions) -> str:
    where = "any namespace" if options.all_namespaces else f"namespace {connection.namespace}"
    return f"No LlamaDeployment in {where}."


run = runner(command, TopOptions)
