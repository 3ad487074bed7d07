"""The table of `kubectl llama key list`, for people."""

from datetime import datetime

from rich.table import Table
from rich.text import Text

from llama_operator.api.meta import rfc3339
from llama_operator.cli.key.endpoint import Endpoint, advice
from llama_operator.cli.key.entries import Kept
from llama_operator.cli.key.terms import KeyState, state_of, until
from llama_operator.cli.shared import output, terminal
from llama_operator.cli.shared.connection import Unknown

_COLORS = {KeyState.VALID: "green", KeyState.ENDS_SOON: "yellow", KeyState.EXPIRED: "dim", KeyState.UNREADABLE: "red"}
_MOST_MODELS = 3
"""Names in a cell; `-o json` has all."""


def show(endpoint: Endpoint, keys: tuple[Kept, ...] | Unknown, now: datetime, *, filtered: bool = False) -> None:
    """Print whether the deployment asks for keys, then the keys; `filtered` if those of other tenants are left out."""
    console = output.console(wide=True)
    console.print(_access(endpoint), soft_wrap=True)
    if isinstance(keys, Unknown):
        text = f"? which keys there are is not known: {keys.why}"
        console.print(Text(text, style="yellow"), soft_wrap=True)
    elif keys:
        console.print(_table(keys, now))
    else:
        create = f"kubectl llama key create {endpoint.ref.name} --tenant TENANT -n {endpoint.ref.namespace}"
        refused = ", so every request is refused" if endpoint.asks and not filtered else ""
        console.print(f"No key in {endpoint.kept_in}{refused}: {create}", markup=False, soft_wrap=True)


def _access(endpoint: Endpoint) -> Text:
    if warning := advice(endpoint):
        return Text.assemble(("! ", "yellow"), warning)
    name = (f"{endpoint.ref.namespace}/{endpoint.ref.name}", "bold")
    return Text.assemble(name, f" asks for keys ({endpoint.reason}); they are in {endpoint.kept_in}")


def _table(keys: tuple[Kept, ...], now: datetime) -> Table:
    whole = ("ID", "TENANT", "CREATED", "EXPIRES", "STATE")
    table = output.table("ID", "TENANT", "MODELS", "CREATED", "EXPIRES", "STATE", "NOTE", whole=whole)
    for kept in keys:
        entry = kept.entry
        created = output.age(entry.created, now) if entry else ""
        expires = entry.expires if entry else None
        table.add_row(
            Text(terminal.plain(kept.id)),
            entry.tenant if entry else "",
            Text(terminal.plain(_models(entry.models)) if entry else ""),
            f"{created} ago" if created else "",
            rfc3339(expires) if expires else ("never" if entry else ""),
            _state(kept, now),
            Text(terminal.plain(entry.note if entry else kept.problem)),
        )
    return table


def _models(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_MODELS} more" if len(names) > _MOST_MODELS else ""
    return ", ".join(names[:_MOST_MODELS]) + more if names else "all"


def _state(kept: Kept, now: datetime) -> Text:
    state = state_of(kept.entry, now)
    expires = kept.entry.expires if kept.entry else None
    words = f"Ends in {until(expires, now)}" if state is KeyState.ENDS_SOON and expires else str(state)
    return Text(words, style=_COLORS[state])
