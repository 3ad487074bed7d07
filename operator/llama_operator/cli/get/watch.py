"""`kubectl llama get --watch`: a live table in a terminal, a line per change elsewhere. Called by `cli.get.command`."""

from collections.abc import AsyncIterator

from llama_operator.cli.get.rows import SPARE, GetOptions, Row, document, row_of, table
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import Connection, list_or_explain
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.kube import kinds
from llama_operator.kube.port import EventType, ExpiredError

Key = tuple[str, str]


async def command(connection: Connection, options: GetOptions) -> int:
    """Show the deployments until the user ends it by Ctrl-C."""
    if options.as_json:
        return await _json_lines(connection, options)
    console = output.console()
    if not console.is_terminal:
        return await _text_lines(connection, options)
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        async for rows, _ in _states(connection, options):
            shown = [rows[key] for key in sorted(rows)]
            drawn = table(shown, namespaces=options.all_namespaces, now=connection.now())
            drawn, left_out = output.fitted(console, drawn, SPARE)
            notes = map(Text, output.narrow_note(left_out))
            live.update(Group(drawn, *notes) if shown else "No LlamaDeployment yet.", refresh=True)
    return EXIT_OK


async def _json_lines(connection: Connection, options: GetOptions) -> int:
    async for rows, changed in _states(connection, options):
        for key in changed:
            row = rows.get(key)
            kind = "DELETED" if row is None else "SEEN"
            what = {"namespace": key[0], "name": key[1]} if row is None else document(row)
            output.print_json_line({"type": kind, "object": what})
    return EXIT_OK


async def _text_lines(connection: Connection, options: GetOptions) -> int:
    shown: dict[Key, str] = {}
    async for rows, changed in _states(connection, options):
        for key in changed:
            line = _line(key, rows.get(key))
            # Not every change of an object is one of what is shown here.
            if shown.get(key) != line:
                print(line, flush=True)
            shown[key] = line
    return EXIT_OK


def _line(key: Key, row: Row | None) -> str:
    name = "/".join(key)
    if row is None:
        return f"{name}  deleted"
    status, ready = row.status, row.ready
    queue = "" if status.queue_depth is None else f"  queue {status.queue_depth}"
    rollout = f"  {row.rollout}" if row.rollout else ""
    return (
        f"{name}  replicas {status.ready_replicas}/{status.replicas}{queue}  "
        f"Ready={ready.status if ready else 'Unknown'} {row.reason}{rollout}  {status.url}".rstrip()
    )


async def _states(connection: Connection, options: GetOptions) -> AsyncIterator[tuple[dict[Key, Row], list[Key]]]:
    """Yield all rows and the keys of those that are new, different or gone: at first, and after every change."""
    rows: dict[Key, Row] = {}
    first = True
    while True:
        namespace = None if options.all_namespaces else connection.namespace
        listing = await list_or_explain(connection.cluster, kinds.LLAMA_DEPLOYMENT, namespace)
        fresh = {_key(row): row for row in map(row_of, listing.items) if options.name in {None, row.name}}
        changed = [key for key in sorted(rows.keys() | fresh.keys()) if rows.get(key) != fresh.get(key)]
        rows = fresh
        if changed or first:
            yield dict(rows), changed
        first = False
        try:
            async for event in connection.cluster.watch(
                kinds.LLAMA_DEPLOYMENT, since=listing.resource_version, namespace=namespace
            ):
                row, gone = row_of(event.object), event.type is EventType.DELETED
                if options.name not in {None, row.name} or (rows.get(_key(row)) == row and not gone):
                    continue
                if gone:
                    rows.pop(_key(row), None)
                else:
                    rows[_key(row)] = row
                yield dict(rows), [_key(row)]
        except ExpiredError:
            continue


def _key(row: Row) -> Key:
    return row.namespace, row.name
