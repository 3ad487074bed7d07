"""Tables of every width: nothing in a heading, a name or a number is cut, whatever the terminal."""

import io
import re

import pytest
from rich.console import Console

from llama_operator import catalog
from llama_operator.cli.main import main
from llama_operator.cli.shared import output

SAMPLE = "manifests/samples/llama-3.3-70b-fp8-h100.yaml"
ACCEPTANCE = "manifests/samples/license-acceptance.yaml"
TABLES = {
    "models": (
        ["models"],
        [*(model.id for model in catalog.load().models), "MODEL", "PARAMETERS", "CONTEXT", "LICENSE", "WEIGHTS"],
    ),
    "plan": (
        ["plan", "-f", SAMPLE, "-f", ACCEPTANCE],
        [
            "CANDIDATE",
            "GPUS",
            "USD/H",
            "FITS",
            "WHY",
            "OBJECT",
            "NAME",
            "WHAT",
            "ControllerRevision",
            "FP8 H100-80GB TP8 PP1",
        ],
    ),
    "cost": (
        ["cost", "-f", SAMPLE, "-f", ACCEPTANCE],
        ["REPLICAS", "GPUS", "$/HOUR", "$/DAY", "REQUESTS/MIN", "OUTPUT", "TOKENS", "minimum 1", "2,641.92"],
    ),
}


@pytest.fixture(params=[60, 80, 120, 240])
def terminal(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("FORCE_COLOR", "1")
    return request.param


@pytest.mark.parametrize("verb", TABLES)
def test_no_table_cuts_a_heading_or_a_name(verb, terminal, capsys):
    arguments, words = TABLES[verb]
    assert main(arguments) in {0, 4}
    out = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    assert [word for word in words if word not in out] == []
    assert not re.search(r"\w…", out)


@pytest.mark.parametrize("width", [10, 60, 80, 120])
def test_a_table_keeps_what_is_whole_and_breaks_the_rest_between_words(width):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    table = output.table("NAME", "WHY", "USD", right=("USD",), whole=("NAME", "USD"))
    table.add_row(
        "a name with spaces", "because it is so, and not otherwise, in extraordinarily many words", "1,000.00"
    )
    output.show_table(console, table)
    text = stream.getvalue()
    for part in ("NAME", "WHY", "USD", "a name with spaces", "extraordinarily", "otherwise,", "1,000.00"):
        assert part in text
    assert console.width == width


@pytest.mark.parametrize(
    ("width", "left_out", "words"),
    [
        (60, (), ("chat-70b", "because", "5678", "12345")),
        (36, ("WHY",), ("chat-70b", "5678", "12345")),
        (25, ("WHY", "RUNNING"), ("chat-70b", "12345")),
        (18, ("WHY", "RUNNING"), ("12345",)),
    ],
)
def test_a_table_that_is_drawn_again_and_again_leaves_columns_out_and_cuts_no_number(width, left_out, words):
    """The kind of derailed/k9s#2196: a number that is cut is another number."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    table = output.table("NAME", "WHY", "RUNNING", "WAITING", right=("RUNNING", "WAITING"), whole=("NAME", "WHY"))
    table.add_row("chat-70b", "because", "5678", "12345")
    fits, missing = output.fitted(console, table, ("WHY", "RUNNING"))
    console.print(fits)
    text = stream.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert (missing, [word for word in words if word not in text]) == (left_out, [])
    assert ", ".join(left_out) in "".join(output.narrow_note(missing))


def test_a_table_fits_the_terminal_if_it_can(capsys, monkeypatch):
    stream = io.StringIO()
    console = Console(file=stream, width=40, force_terminal=True, color_system=None)
    table = output.table("NAME", "WHY", whole=("NAME",))
    table.add_row("chat", "one two three four five six seven eight nine ten eleven")
    output.show_table(console, table)
    assert max(len(line) for line in stream.getvalue().splitlines()) <= 40
