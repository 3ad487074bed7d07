"""What `ledger.lua` is told and what it answers: the ledger in a store, for replicas of several deployments. Pure.

The script is the one step that reserves and settles, so two replicas never spend the same. `valkey_bank` sends it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from llama_serving.contract.tenants import TenantLimits
from llama_serving.desk.amounts import (
    Amount,
    Answer,
    Lease,
    Meter,
    Moment,
    Reply,
    Short,
    Shortage,
    Standing,
    Statement,
)
from llama_serving.desk.ledger import HELD_SECONDS, NEAR, SILENT_SECONDS, SLICE

SCRIPT: Final = Path(__file__).with_name("ledger.lua").read_text(encoding="utf-8")
_PREFIX: Final = "llama-ledger"


def keys_of(scope: str, tenants: Sequence[str]) -> list[str]:
    """Return the keys for the script. The braces keep them on one node of a server in several parts."""
    prefix = f"{_PREFIX}:{{{scope}}}"
    return [f"{prefix}:began", f"{prefix}:replicas", *(f"{prefix}:tenant:{tenant}" for tenant in tenants)]


def message_of(
    replica: str,
    statements: Sequence[Statement],
    moment: Moment,
    *,
    learning_seconds: float,
    leaves: bool = False,
    seconds: float | None = None,
) -> bytes:
    """Encode what a replica says.

    Args:
        replica: Its id, unique among all deployments.
        statements: About the tenants, in the order of their keys.
        moment: Its own time; only the calendar counts.
        learning_seconds: For this long a store that knows nothing lends nothing of budgets.
        leaves: Whether the replica ends.
        seconds: The ledger's clock, in tests; None for that of the server.
    """
    calendar = {
        "day": moment.day,
        "month": moment.month,
        "day_seconds": (moment.next_day - moment.utc).total_seconds(),
        "month_seconds": (moment.next_month - moment.utc).total_seconds(),
    }
    said = {
        "replica": replica,
        "statements": [_statement(statement) for statement in statements],
        "leaves": leaves,
        "learning": learning_seconds,
        "silent": SILENT_SECONDS,
        "held": HELD_SECONDS,
        "slice": SLICE,
        "near": NEAR,
    }
    return msgspec.msgpack.encode(calendar | said | ({} if seconds is None else {"now": seconds}))


def answer_of(encoded: bytes, tenants: Sequence[str], moment: Moment) -> Answer:
    """Decode what the script answers."""
    replicas, replies = msgspec.msgpack.decode(encoded)
    # An empty table is an empty list for Lua.
    return Answer(
        replies={tenant: _reply(reply, moment) for tenant, reply in zip(tenants, replies or (), strict=True) if reply},
        replicas=int(replicas),
    )


def _statement(statement: Statement) -> Mapping[str, Any]:
    return {
        "limits": _limits(statement.limits),
        "held": {"tokens": statement.held.tokens, "slots": statement.held.slots},
        "spent": statement.spent,
        "returned": [
            (lease.amount.requests, lease.amount.tokens, lease.requests_bucket, lease.tokens_bucket)
            for lease in statement.returned
        ],
        "beyond": _amount(statement.beyond),
        "needs": [_amount(need) for need in statement.needs],
        "ahead": _amount(statement.ahead),
    }


def _limits(limits: TenantLimits) -> Mapping[str, int]:
    all_of_them = {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "slots": limits.concurrent_requests,
        "day": limits.tokens_per_day,
        "month": limits.tokens_per_month,
    }
    return {name: limit for name, limit in all_of_them.items() if limit is not None}


def _amount(amount: Amount) -> tuple[int, int, int]:
    return amount.requests, amount.tokens, amount.slots


def _reply(reply: Sequence[Any], moment: Moment) -> Reply:
    needs, ahead, (requests, tokens, left) = reply
    return Reply(
        needs=tuple(_lease(what) if is_there else _shortage(what, moment) for is_there, what in needs),
        ahead=_lease(ahead) if ahead else None,
        standing=Standing(
            requests=_meter(requests), tokens=_meter(tokens), budget_left=None if left is False else int(left)
        ),
    )


def _lease(said: Sequence[Any]) -> Lease:
    requests, tokens, slots, requests_bucket, tokens_bucket = map(int, said)
    return Lease(Amount(requests, tokens, slots), requests_bucket, tokens_bucket)


def _shortage(said: Sequence[Any], moment: Moment) -> Shortage:
    name, seconds, ends = said
    short = Short(name)
    until = {Short.DAY: moment.next_day, Short.MONTH: moment.next_month}.get(short) if ends else None
    return Shortage(short, _seconds(seconds), until)


def _meter(said: Any) -> Meter | None:
    if not said:
        return None
    limit, remaining, reset = said
    return Meter(limit=int(limit), remaining=int(remaining), reset_seconds=_seconds(reset))


def _seconds(said: float) -> float:
    return float("inf") if said < 0 else float(said)
