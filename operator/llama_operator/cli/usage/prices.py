"""What a million tokens cost, as the command line says it: in dollars, or by the plan of a manifest. Called by `cli.usage.command`."""

from llama_operator.cli.cost.answer import CostOptions, dollars
from llama_operator.cli.cost.command import answer_to
from llama_operator.cli.usage.sums import Prices
from llama_operator.decide.decision import Decision
from llama_operator.errors import InvalidManifestError

_COMMAND_LINE = "the command line"
_INPUT, _OUTPUT, _CACHED = (f"--price-per-million-{kind}" for kind in ("input", "output", "cached"))


def read(
    *,
    input_price: str | None,
    output_price: str | None,
    cached_price: str | None,
    manifest: str | None,
    prices: str | None,
) -> Prices | None:
    """Read the prices; None if none are asked for.

    Args:
        input_price: Dollars for a million tokens of prompts.
        output_price: Dollars for a million tokens of answers.
        cached_price: Dollars for a million tokens of prompts from the cache; None for that of other prompts.
        manifest: File of the deployment, whose cost model says what tokens cost.
        prices: File with prices of GPUs for that.

    Raises:
        InvalidManifestError: If one is no amount, one is missing, or both ways are asked for.
    """
    said = {_INPUT: input_price, _OUTPUT: output_price, _CACHED: cached_price}
    given = [option for option, value in said.items() if value is not None]
    if manifest is not None:
        if given:
            raise _wrong("--manifest", f"and {given[0]} both say what tokens cost", "leave one of them out")
        return _of_manifest(manifest, prices)
    if prices is not None:
        raise _wrong("--prices", "are prices of GPUs", "say with --manifest which deployment, or what tokens cost")
    if not given:
        return None
    if input_price is None or output_price is None:
        missing = _INPUT if input_price is None else _OUTPUT
        raise _wrong(missing, f"is missing beside {given[0]}", "say both: most prices differ by five times")
    paid = dollars(input_price, _INPUT)
    free = cached_price in {"0", "0.0", "0.00"}
    cached = paid if cached_price is None else 0 if free else dollars(cached_price, _CACHED)
    return Prices(paid, dollars(output_price, _OUTPUT), cached, "prices of the command line")


def _of_manifest(manifest: str, prices: str | None) -> Prices:
    answer = answer_to(CostOptions([manifest], prices=prices))
    if isinstance(answer, Decision):
        problem = answer.problem.text if answer.problem else "no plan fits"
        raise InvalidManifestError.of(manifest, "(plan)", problem, "see kubectl llama plan")
    figures = [figure for _, figure in answer.scenarios if figure.usd_micros_per_million_tokens is not None]
    # By objectives, what their load costs; else one that never sleeps, at full load: then the number does not matter.
    planned = [figure for name, figure in answer.scenarios if name == "planned"]
    amount = (planned or figures)[0].usd_micros_per_million_tokens
    if amount is None:
        raise InvalidManifestError.of(manifest, "(plan)", "has no cost per token", "see kubectl llama cost")
    return Prices(amount, amount, amount, f"kubectl llama cost of {answer.deployment}: {answer.table.basis}")


def _wrong(option: str, problem: str, allowed: str) -> InvalidManifestError:
    return InvalidManifestError.of(_COMMAND_LINE, option, problem, allowed)
