"""Texts of others on a terminal: whatever they hold, only the command line itself moves the cursor and sets colors."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llama_operator.cli.main import main
from llama_operator.cli.shared import terminal, yaml_text
from llama_operator.kube import kinds

TITLE = "\x1b]0;owned\x07"
EVIL = f"{TITLE}\x9b31m\u202egnp.exe\u2066\x7f\x00\r\u2028end"
OWN_COLORS = re.compile("\x1b\\[[0-9;]*m")
COMMANDS = [
    ["get"],
    ["get", "chat"],
    ["explain", "chat"],
    ["history", "chat"],
    ["doctor"],
    ["license", "explain", "chat"],
    ["license", "report"],
    ["license", "report", "-o", "csv"],
    ["license", "report", "-o", "html"],
    ["rollback", "chat", "--dry-run"],
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("Grüße, 模型 🦙", "Grüße, 模型 🦙"),
        (TITLE, "\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x7f\x00", "a\\x0db\\x7f\\x00"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_acts_on_a_terminal_is_written_out(text, shown):
    assert terminal.plain(text) == shown
    assert terminal.acts(text) is (text != shown)
    terminal.plain(text).encode()


@pytest.fixture
async def poisoned(world, serving_facts):
    """A cluster in which every free text holds sequences that would act."""
    _, conditions, spec = serving_facts
    texts = {kind: (s, r, f"{message} {EVIL}") for kind, (s, r, message) in ALL_WELL.items()}
    await world.serving(
        spec=spec,
        status={"conditions": conditions(**texts), "url": f"http://chat/{EVIL}"},
    )
    await world.user.apply(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicenseAcceptance",
            "metadata": {"name": "acme"},
            "spec": {
                "families": ["llama-3.3"],
                "legalEntity": f"Acme {EVIL}",
                "acceptedBy": f"Jane {EVIL}",
                "acceptedOn": "2026-01-02",
                "namespaces": ["team-a"],
            },
        }
    )
    event = {
        "type": "Warning",
        "reason": "Failed",
        "note": EVIL,
        "regarding": {"kind": "LlamaDeployment", "name": "chat"},
    }
    world.seed(kinds.EVENT, "chat.1", "team-a", **event)
    world.seed(kinds.NODE, "node", metadata={"labels": {"nvidia.com/gpu.product": EVIL}}, status={"allocatable": {}})
    return world


ALL_WELL = {
    "ModelLoaded": ("False", "EngineFailed", "the engine says"),
    "Ready": ("False", "EngineFailed", "the engine says"),
}


@pytest.mark.parametrize("colors", [False, True], ids=["file", "terminal"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_passes_on_what_acts(command, colors, poisoned, monkeypatch):
    if colors:
        monkeypatch.setenv("FORCE_COLOR", "1")
    _, out, err = poisoned.run(*command)
    assert out + err
    for text in (out, err):
        assert not terminal.acts(OWN_COLORS.sub("", text) if colors else text)


def test_each_command_writes_by_the_one_console_whose_own_colors_are_left():
    """Another one would write its colors through what makes standard output plain, and so be shown as letters."""
    folder = Path(terminal.__file__).parents[1]
    made = [path.name for path in folder.rglob("*.py") if re.search(r"\bConsole\(", path.read_text("utf-8"))]
    assert made == [], "output.console() makes it"


def test_the_words_themselves_are_shown(poisoned):
    _, out, _ = poisoned.run("explain", "chat")
    assert "\\x1b]0;owned" in out


@pytest.mark.parametrize("command", [["get"], ["explain", "chat"]], ids=" ".join)
def test_json_keeps_what_there_is(command, poisoned):
    _, out, _ = poisoned.run(*command, "-o", "json")
    assert not terminal.acts(out)
    assert EVIL in texts(json.loads(out))


def texts(value):
    """All texts in a document, one after the other."""
    if isinstance(value, dict):
        return "".join(map(texts, value.values()))
    return "".join(map(texts, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("text", [EVIL, f"two\nlines {EVIL}", "\u202e", "it's \u202e", "plain"])
def test_yaml_keeps_what_there_is(text):
    written = yaml_text.dump([{"a": text, text: 1}])
    assert not terminal.acts(written)
    assert yaml.safe_load(written) == {"a": text, text: 1}


def test_errors_about_a_file_show_what_is_in_it_plainly(tmp_path, capsys):
    path = tmp_path / "evil.json"
    spec = {"model": {"name": f"no {EVIL}"}, f"field{EVIL}": 1}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "llama-operator.io/v1alpha1",
                "kind": "LlamaDeployment",
                "metadata": {"name": "a"},
                "spec": spec,
            }
        )
    )
    assert main(["plan", "-f", str(path)]) == 2
    out, err = capsys.readouterr()
    assert "owned" in out + err
    assert not terminal.acts(out + err)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_can_write_into_a_locale_of_few_letters(command, poisoned, monkeypatch):
    below = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", below)
    poisoned.run(*command)
    below.flush()
    assert below.buffer.getvalue().isascii()
    assert below.errors == "strict", "the stream of the caller stays as it was"


@pytest.mark.parametrize("command", [["models"], ["simulate", "--trace", "wave:length=60"], ["plan"]], ids=" ".join)
def test_signs_of_our_own_have_one_of_ascii(command, root):
    manifest = ["-f", str(root / "manifests/samples/llama-3.3-70b-fp8-h100.yaml")]
    words = command + (manifest if command[0] != "models" else [])
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "llama_operator.cli.main", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u" not in done.stdout, "it has none yet"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "x > \\u00e9 \\u5bd2 \\U0001f999"), ("cp1252", "× > é \\u5bd2 \\U0001f999"), ("utf-8", "× → é 寒 🦙")],
)
def test_letters_that_an_encoding_lacks_are_written_by_their_numbers(encoding, shown, monkeypatch):
    below = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", below)
    with terminal.plain_streams():
        print("× → é 寒 🦙")
    below.flush()
    assert below.buffer.getvalue().decode(encoding) == shown + "\n"


def test_the_streams_of_the_caller_stay_open_and_as_they_were(capsys):
    before = sys.stdout, sys.stderr
    main(["models", "-o", "json"])
    assert (sys.stdout, sys.stderr) == before
    print("still open")
    assert "still open" in capsys.readouterr().out


def test_a_plain_stream_is_in_all_else_the_one_below(monkeypatch):
    below = io.StringIO()
    monkeypatch.setattr(sys, "stdout", below)
    with terminal.plain_streams():
        sys.stdout.writelines(["a\x1b", "b"])
        print("c", flush=True)
        assert sys.stdout.isatty() is False
        assert terminal.raw(sys.stdout) is below
    assert below.getvalue() == "a\\x1bbc\n"


def test_a_reader_that_goes_away_is_no_error(root):
    """The streams are wrapped: the interpreter must still end without a word."""
    command = f"{sys.executable} -m llama_operator.cli.main models | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=root, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
