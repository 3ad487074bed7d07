"""docs/licenses-how-to.md: each section is run from its first command to its last, and prints what the page says."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from llama_operator.api.manifest import parse
from llama_operator.cli.main import main
from llama_operator.cli.shared.documents import documents

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "licenses-how-to.md").read_text(encoding="utf-8")
START, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
BLOCK = re.compile(r"^```(yaml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """A folder in which commands run as a reader would run them; returns what they print."""
    monkeypatch.chdir(tmp_path)

    def run(command):
        words = shlex.split(command)
        if words[:2] == ["kubectl", "llama"]:
            arguments, _, target = (*command.partition(" > "),)
            main(shlex.split(arguments)[2:])
            out, err = capsys.readouterr()
            if target:
                Path(target).write_text(out, encoding="utf-8")
            return err if target else out + err
        if words[:2] == ["kubectl", "apply"]:
            assert [parse(obj) for obj in documents(words[-1])]
            return ""
        return subprocess.run(["bash", "-ec", command], check=True, capture_output=True, text=True).stdout

    return run


def write(block):
    name, content = re.match(r"# (\S+)\n(.*)", block, re.DOTALL).groups()
    Path(name).write_text(content, encoding="utf-8")


def commands(block):
    """Each command with the lines that it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *printed = part.splitlines()
        yield command, printed


def follow(section, shell):
    """Run the blocks of a section in their order; returns the commands that were run."""
    ran = []
    for kind, block in BLOCK.findall(section):
        if kind == "yaml":
            write(block)
            continue
        for command, printed in commands(block):
            told = [line.rstrip() for line in shell(command).splitlines() if line.strip()]
            assert not printed or unlike(printed, told) is None, (command, unlike(printed, told), told)
            ran.append(command)
    return ran


def unlike(printed, told):
    """The first line of the page that is not told, None if all are; `...` is any text, alone in a line any lines."""
    at, skip = 0, False
    for line in printed:
        if line == "...":
            skip = True
            continue
        pattern = re.compile(re.escape(line.rstrip()).replace(r"\.\.\.", ".*"))
        places = [place for place in range(at, len(told)) if pattern.fullmatch(told[place])]
        if not places or (places[0] != at and not skip):
            return line
        at, skip = places[0] + 1, False
    return None if skip or at == len(told) else told[at]


@pytest.mark.parametrize(
    ("printed", "told", "missing"),
    [
        (["a", "...", "c"], ["a", "b", "c"], None),
        (["a"], ["a", "b"], "b"),
        (["a", "c"], ["a", "b", "c"], "c"),
        (["...", "x [...]"], ["a", "x [y]"], None),
        (["...", "b"], ["a"], "b"),
    ],
)
def test_what_a_page_prints_is_compared_line_by_line(printed, told, missing):
    assert unlike(printed, told) == missing


def test_there_is_a_section_for_a_new_company_a_renamed_one_and_two_entities():
    assert [section.splitlines()[0] for section in SECTIONS] == ["A new company", "A renamed company", "Two entities"]


@pytest.mark.parametrize("number", range(len(SECTIONS)), ids=lambda number: SECTIONS[number].splitlines()[0])
def test_a_section_does_what_it_says(number, shell):
    """A section goes on with the files of those before it."""
    for section in (START, *SECTIONS[:number]):
        follow(section, shell)
    ran = follow(SECTIONS[number], shell)
    assert any(command.startswith("kubectl llama plan") for command in ran)
