"""The words and headers of the desk's refusals, and what answers say about limits. Pure; `desk` and `middleware` use it.

`429 rate_limit_exceeded` passes by itself, so it says when to come again. `429 insufficient_quota` does not, so it has no
`Retry-After`: clients would try again for days.
"""

from datetime import UTC
from typing import Final

from llama_serving.contract.tenants import HouseLimit, HouseLimits, TenantLimits
from llama_serving.desk.amounts import Meter, Short, Shortage, Standing, most_tokens_ever, whole_seconds
from llama_serving.desk.wish import Wish
from llama_serving.door.asgi import Header, Headers
from llama_serving.door.refusals import Refusal

_LONGEST_WAIT: Final = 60


def of_shortage(shortage: Shortage, limits: TenantLimits, reserved: int, house: HouseLimits | None = None) -> Refusal:
    """Return the refusal of a request that a limit forbids now.

    Args:
        shortage: Which limit, and for how long.
        limits: The tenant's.
        reserved: Tokens that the request would reserve.
        house: House policy, which is named if the limit is its.
    """
    seconds = whole_seconds(min(shortage.seconds, _LONGEST_WAIT))
    again = f"Try again in {seconds} s."
    who = f"Tenant {limits.name!r}"
    bounds = house or HouseLimits()
    match shortage.short:
        case Short.REQUESTS:
            words = f"{who} may send {limits.requests_per_minute} requests a minute, and they are used up. {again}"
            words += _of_house(bounds.requests_per_minute, limits.requests_per_minute)
        case Short.TOKENS:
            words = (
                f"{who} may use {limits.tokens_per_minute} tokens a minute, and this request reserves {reserved} for its prompt "
                f"and its answer, which is more than is left. {again} A smaller max_tokens reserves less."
                f"{_of_house(bounds.tokens_per_minute, limits.tokens_per_minute)}"
            )
        case Short.CONCURRENT:
            words = f"{who} may have {limits.concurrent_requests} requests at once, and they are running. {again}"
        case Short.DAY | Short.MONTH:
            return _of_budget(shortage, limits, reserved, seconds)
        case Short.LEDGER:
            return Refusal(
                503,
                f"What is left of the budget of tenant {limits.name!r} is not known at the moment. {again}",
                code="limits_unavailable",
                headers=_retry_after(seconds),
            )
    return Refusal(429, words, code="rate_limit_exceeded", type=_kind(shortage.short), headers=_retry_after(seconds))


def _of_house(bound: HouseLimit | None, limit: int | None) -> str:
    """Who set a limit, if it was not the team: then the team cannot raise it either."""
    if bound is None or bound.most != limit:
        return ""
    return f" House policy allows no tenant more: LicensePolicy {bound.policy}, tier {bound.tier}."


def _of_budget(shortage: Shortage, limits: TenantLimits, reserved: int, seconds: int) -> Refusal:
    of_day = shortage.short is Short.DAY
    budget, period = (limits.tokens_per_day, "a day") if of_day else (limits.tokens_per_month, "a month")
    who = f"Tenant {limits.name!r} may use {budget} tokens {period}"
    if shortage.until is None:
        words = f"{who}, and its running requests have reserved what is left. Try again in {seconds} s."
        return Refusal(429, words, code="rate_limit_exceeded", type="tokens", headers=_retry_after(seconds))
    when = shortage.until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    words = (
        f"{who}, and this request, which reserves {reserved}, is more than is left. The budget starts again at {when}. "
        "The team that runs this endpoint can raise it."
    )
    return Refusal(429, words, code="insufficient_quota", type="insufficient_quota")


def of_full_engine(waiting: int, seconds: float) -> Refusal:
    """Return the refusal of a request for which the queue has no place."""
    wait = whole_seconds(min(seconds, _LONGEST_WAIT))
    return Refusal(
        429,
        f"The model is busy: {waiting} requests wait already. Try again in {wait} s.",
        code="server_overloaded",
        headers=_retry_after(wait),
    )


def of_impossible(limits: TenantLimits, wish: Wish, output_tokens: int) -> Refusal | None:
    """Return the refusal of a request that is larger than a limit ever allows; None if it can be admitted some time."""
    most = most_tokens_ever(limits)
    reserved = wish.prompt_tokens + wish.sequences * output_tokens
    if most is None or reserved <= most[0]:
        return None
    return Refusal(
        400,
        f"This request reserves {reserved} tokens: about {wish.prompt_tokens} for the prompt and {wish.sequences} x "
        f"{output_tokens} for the answer. Tenant {limits.name!r} may use {most[0]} {most[1]}, so it can never be admitted. "
        "Ask for a shorter answer (max_tokens), or send a shorter prompt.",
        code="request_exceeds_limit",
        param="max_tokens",
    )


def of_long_answer(limits: TenantLimits, wish: Wish) -> Refusal | None:
    """Return the refusal of a request for a longer answer than its tenant may have."""
    most = limits.max_output_tokens
    if most is None or wish.output_tokens is None or wish.output_tokens <= most:
        return None
    return Refusal(
        400,
        f"This request allows an answer of {wish.output_tokens} tokens. Tenant {limits.name!r} may ask for {most}. "
        f"Send max_tokens of {most} or less.",
        code="invalid_value",
        param="max_tokens",
    )


def standing_headers(standing: Standing) -> Headers:
    """Return the headers that say what is left, under the names that OpenAI gave them."""
    return (*_meter_headers(standing.requests, b"requests"), *_meter_headers(standing.tokens, b"tokens"))


def _meter_headers(meter: Meter | None, name: bytes) -> tuple[Header, ...]:
    if meter is None:
        return ()
    return (
        (b"x-ratelimit-limit-" + name, str(meter.limit).encode()),
        (b"x-ratelimit-remaining-" + name, str(meter.remaining).encode()),
        (b"x-ratelimit-reset-" + name, _duration(meter.reset_seconds)),
    )


def _duration(seconds: float) -> bytes:
    whole = 0 if seconds <= 0 else whole_seconds(seconds)
    return f"{whole // 60}m{whole % 60}s".encode() if whole >= 60 else f"{whole}s".encode()  # noqa: PLR2004


def _kind(short: Short) -> str:
    return "tokens" if short is Short.TOKENS else "requests"


def _retry_after(seconds: int) -> Headers:
    return ((b"retry-after", str(seconds).encode()),)
