"""What one H100 80GB HBM3 showed on 27 November 2026, beside the plan: memory, starts, and the document that tells both."""

import pytest

from bench.predictions import measured
from llama_operator import catalog

KNOWN = measured.read()
CARD = catalog.load().accelerator(KNOWN.card.accelerator)
THE_CARD_ITSELF = CARD.model_copy(update={"usable_memory_bytes": KNOWN.card.total_bytes})


def names(rows):
    return [row.name for row in rows]


def test_the_document_tells_what_the_data_gives():
    text = measured.DOCUMENT.read_text(encoding="utf-8")
    assert measured.document(text) == text


@pytest.mark.parametrize("card", [CARD, THE_CARD_ITSELF], ids=["catalog", "measured"])
@pytest.mark.parametrize("row", KNOWN.memory, ids=names(KNOWN.memory))
def test_the_plan_is_never_above_the_engine_and_at_most_a_tenth_below(row, card):
    tokens = measured.planned(row, card).kv_tokens
    assert 0.9 * row.kv_tokens <= tokens <= row.kv_tokens


def test_the_catalog_does_not_count_on_more_memory_than_the_card_showed():
    assert CARD.memory_basis == "Observed"
    assert 0.99 * KNOWN.card.total_bytes < CARD.usable_memory_bytes <= KNOWN.card.total_bytes


@pytest.mark.parametrize("row", KNOWN.memory, ids=names(KNOWN.memory))
def test_the_weights_are_those_of_the_file_and_half_a_percent_more(row):
    planned = measured.planned(row).weights
    assert planned <= row.weights_bytes <= 1.005 * planned


@pytest.mark.parametrize("row", [row for row in KNOWN.memory if row.other_bytes], ids=lambda row: row.name)
def test_the_parts_of_the_reserve_add_up(row):
    assert row.activations_bytes + row.counted_graphs_bytes + row.other_bytes == row.reserve_bytes


@pytest.mark.parametrize(
    "start", [start for start in KNOWN.starts if not start.compile_cache], ids=lambda start: start.name
)
def test_compilation_takes_no_longer_than_predicted(start):
    assert 0.6 * measured.predicted(start)["Compile"] < start.compile_seconds <= measured.predicted(start)["Compile"]


@pytest.mark.parametrize(
    "start", [start for start in KNOWN.starts if start.ready_seconds], ids=lambda start: start.name
)
def test_a_start_takes_no_longer_than_predicted(start):
    found = measured.predicted(start)
    together = found["Engine"] + found["Compile"] + found["Graphs"]
    seconds = start.ready_seconds - start.weights_seconds
    assert seconds <= together
    # The prediction knows no compile cache.
    assert together <= 1.15 * seconds + (found["Compile"] - start.compile_seconds if start.compile_cache else 0)
