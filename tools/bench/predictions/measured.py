"""Lays what was measured on a GPU beside the plan and the performance model, as the tables of docs/measured.md.

`make calibrate` calls it after the fit, because coefficients change the tables; `--check` only says whether they are as the data gives
them. Memory and starts are in measured.json, with conditions and caveats; steps and runs in performance_points.json, source "Measured".
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import TypeAdapter

from bench.predictions import calibrate
from llama_operator import catalog
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.figures import performance as facts
from llama_operator.catalog.models import Fact, Model, Variant
from llama_operator.decide.plan import cold_start, memory
from llama_operator.decide.plan.memory import MIB, Sharding, Step

DATA = calibrate.POINTS.with_name("measured.json")
DOCUMENT = calibrate.ROOT / "docs" / "measured.md"
BEGIN, END = "<!-- written by make calibrate: {} -->", "<!-- end -->"
SOURCE = "Measured"
ONE = Sharding(1, 1)


class Card(Fact):
    """What it was measured on."""

    name: str
    accelerator: str
    count: int
    total_bytes: int
    """What a CUDA process saw as total memory."""
    driver: str
    power_limit_watts: int
    cpu_cores: int


class Start(Fact):
    """A start of an engine; seconds that were not seen are None."""

    name: str
    model: str
    precision: Literal["BF16", "FP8"]
    compile_cache: bool
    """Whether an earlier start had filled it."""
    ready_seconds: float | None = None
    """From the start of the process until it answers."""
    import_seconds: float | None = None
    weights_seconds: float
    compile_seconds: float
    graphs_seconds: tuple[int, ...] = ()
    """To reckon their memory, and to keep them."""
    prepare_seconds: float | None = None
    """vLLM's `init engine`, with compilation and graphs in it, without the weights."""


class MemoryOf(Fact):
    """Memory of an engine as it started."""

    name: str
    model: str
    precision: Literal["BF16", "FP8"]
    compile_cache: bool
    utilization_percent: int
    max_num_seqs: int
    max_model_length: int
    kv_tokens: int
    requested_bytes: int
    weights_bytes: int
    kv_cache_bytes: int
    activations_bytes: int | None = None
    counted_graphs_bytes: int | None = None
    other_bytes: int | None = None
    source: str

    @property
    def reserve_bytes(self) -> int:
        """What the engine kept beside weights and KV cache."""
        return self.requested_bytes - self.weights_bytes - self.kv_cache_bytes


class CardAlone(Fact):
    """The card without vLLM: torch and Triton, shares of the datasheet's figures."""

    copy_gb_per_second: int
    read_gb_per_second: int
    products_share_16_bit: float
    products_share_8_bit: float
    cache_read_share: float
    sampler_bytes_per_entry: dict[str, int]


class Measured(Fact):
    """All of the data file."""

    card: Card
    date: str
    software: dict[str, str]
    engine: tuple[str, ...]
    caveats: tuple[str, ...]
    not_measured: tuple[str, ...]
    memory: tuple[MemoryOf, ...]
    starts: tuple[Start, ...]
    card_alone: CardAlone


@cache
def read() -> Measured:
    """Read the data file."""
    return TypeAdapter(Measured).validate_json(DATA.read_bytes())


def planned(row: MemoryOf, card: Accelerator | None = None) -> memory.Memory:
    """What the plan says of the same start.

    Args:
        row: What was measured.
        card: None for the one of the catalog.
    """
    model, variant = _weights(row.model, row.precision)
    return memory.estimate(
        model,
        variant,
        card or catalog.load().accelerator(read().card.accelerator),
        ONE,
        utilization_percent=row.utilization_percent,
        kv_element_bytes=2,
        step=Step(None, row.max_num_seqs),
    )


def predicted(start: Start) -> dict[str, int]:
    """Seconds that the plan predicts for the stages of the same start; it knows no compile cache."""
    model, variant = _weights(start.model, start.precision)
    card = catalog.load().accelerator(read().card.accelerator)
    return {stage.name: stage.seconds for stage in cold_start.stages(model, variant, card, ONE)}


def tables() -> dict[str, str]:
    """The tables of the document by name."""
    return {
        "conditions": _lines(_conditions()),
        "memory": _lines(_memory()),
        "prompts": _lines(_steps("prefill")),
        "steps": _lines(_steps("decode")),
        "load": _lines(_load()),
        "starts": _lines(_starts()),
        "missing": _lines(f"- {what}" for what in read().not_measured),
    }


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something would change")
    check = parser.parse_args().check
    old = DOCUMENT.read_text(encoding="utf-8")
    new = document(old)
    if check:
        if new != old:
            print(f"{DOCUMENT.relative_to(calibrate.ROOT)} is not what the data gives; run make calibrate")
        return int(new != old)
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


def document(text: str) -> str:
    """Put the tables into `text`, each between its marks."""
    for name, table in tables().items():
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"{DOCUMENT.name} has no place for {name}")
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return text


@dataclass(frozen=True, slots=True)
class _Row:
    cells: tuple[object, ...]

    def __str__(self) -> str:
        return "| " + " | ".join(str(cell) for cell in self.cells) + " |"


def _weights(name: str, precision: Literal["BF16", "FP8"]) -> tuple[Model, Variant]:
    model = catalog.load().model(name)
    variant = model.default_variant(precision)
    if variant is None:
        raise ValueError(f"{name} has no {precision}")
    return model, variant


def _lines(lines: Iterable[object]) -> str:
    return "\n".join(map(str, lines))


def _error(ours: float, theirs: float) -> str:
    return f"{ours / theirs - 1:+.1%}"


def _conditions() -> Iterator[object]:
    known = read()
    versions = ", ".join(f"{name} {version}" for name, version in known.software.items())
    yield f"- {known.card.count} × {known.card.name}, {known.card.total_bytes:,} bytes, driver {known.card.driver}, {known.card.cpu_cores} CPU cores; {known.date}"
    yield f"- {versions}; {', '.join(known.engine)}"
    yield from (f"- {caveat}" for caveat in known.caveats)


def _memory() -> Iterator[object]:
    yield "| start | figure | plan | measured | plan against it |\n|---|---|--:|--:|--:|"
    for row in read().memory:
        plan = planned(row)
        for what, ours, theirs in (
            ("weights, MiB", plan.weights / MIB, row.weights_bytes / MIB),
            ("reserve, MiB", plan.reserve / MIB, row.reserve_bytes / MIB),
            ("KV cache, MiB", plan.left_for_kv / MIB, row.kv_cache_bytes / MIB),
            ("**KV cache, tokens**", plan.kv_tokens, row.kv_tokens),
        ):
            label = f"{row.name}, {row.max_num_seqs} sequences, {row.utilization_percent} %"
            yield _Row((label, what, f"{ours:,.0f}", f"{theirs:,.0f}", _error(ours, theirs)))


def _steps(what: Literal["prefill", "decode"]) -> Iterator[object]:
    head = "prompt, tokens" if what == "prefill" else "sequences × tokens of context"
    yield f"| {head} | part | predicted, ms | measured, ms | error |\n|---|---|--:|--:|--:|"
    engine = facts.load().engine("vLLM")
    rows = []
    for group in (group for group in calibrate.read_points().steps if group.source == SOURCE):
        found = [each for each in calibrate.residuals([group], engine) if each.what == what]
        rows += [(*row, group.use, each) for row, each in zip(getattr(group, what), found, strict=True)]
    for tokens, batch, _, use, each in sorted(rows, key=lambda row: row[:2]):
        label = f"{tokens:,}" if what == "prefill" else f"{batch} × {tokens:,}"
        part = "**held out**" if use == "HeldOut" else "calibration"
        cells = (label, part, f"{each.predicted / 1e3:.2f}", f"{each.published / 1e3:.2f}", f"{each.error:+.1%}")
        yield _Row(cells)


def _load() -> Iterator[object]:
    yield "| load, prompts of 1,155 tokens, answers of 211 | figure | predicted | measured | error |\n|---|---|--:|--:|--:|"
    engine = facts.load().engine("vLLM")
    for run in (run for run in calibrate.read_points().runs if run.source == SOURCE):
        for each in calibrate.residuals([run], engine):
            label = run.name.removeprefix("1 H100, ")
            yield _Row((label, each.what, f"{each.predicted:,.0f}", f"{each.published:,.0f}", f"{each.error:+.1%}"))


def _starts() -> Iterator[object]:
    yield "| start | stage | predicted, s | measured, s |\n|---|---|--:|--:|"
    for start in read().starts:
        ours, graphs = predicted(start), sum(start.graphs_seconds)
        cached = " (predicted without a cache)" if start.compile_cache else ""
        if start.ready_seconds is not None:
            rest = start.ready_seconds - start.weights_seconds - start.compile_seconds - graphs
            yield _Row((start.name, "Engine", ours["Engine"], f"{rest:.0f}"))
        yield _Row((start.name, f"Compile{cached}", ours["Compile"], f"{start.compile_seconds:.0f}"))
        if graphs:
            yield _Row((start.name, "Graphs", ours["Graphs"], graphs))
        if start.ready_seconds is not None:
            together = ours["Engine"] + ours["Compile"] + ours["Graphs"]
            measured = start.ready_seconds - start.weights_seconds
            yield _Row((start.name, "together, without the weights", together, f"{measured:.0f}"))


if __name__ == "__main__":
    sys.exit(main())
