"""Prices of accelerators: a table that comes with the package, and one that a user puts in its place.

Read by `cli.cost.command` and `decide.plan.cost`. Amounts are integers in millionths of a US dollar: a price must add up exactly.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from llama_operator.catalog.models import Count, Fact
from llama_operator.catalog.packaged import packaged


class Price(Fact):
    """What one card costs."""

    accelerator: Annotated[str, Field(min_length=1, max_length=63)]
    usd_micros_per_gpu_hour: Count
    """Millionths of a US dollar for one card and hour, with its share of the node."""
    source: str = ""


class PriceTable(Fact):
    """Prices of all accelerators that have one."""

    basis: Annotated[str, Field(min_length=1)]
    """Whose prices these are, and of when; shown beside every amount."""
    prices: tuple[Price, ...]

    def of(self, accelerator: str) -> int | None:
        """Price of one card and hour in millionths of a US dollar; None where there is none."""
        return next((p.usd_micros_per_gpu_hour for p in self.prices if p.accelerator == accelerator), None)


load = packaged("prices.json", PriceTable)
"""Reads the prices that come with the package."""


def table(basis: str, usd_micros_per_gpu_hour: Mapping[str, int]) -> PriceTable:
    """Make a table in place of the one that comes with the package.

    Raises:
        pydantic.ValidationError: If a price is not positive.
    """
    listed = tuple(Price(accelerator=name, usd_micros_per_gpu_hour=m) for name, m in usd_micros_per_gpu_hour.items())
    return PriceTable(basis=basis, prices=listed)
