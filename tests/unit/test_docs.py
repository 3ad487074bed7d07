"""Documents tell the truth about what can be checked: links lead somewhere, commands and numbers exist."""

import re
from pathlib import Path

import pytest

from generate.api_reference import member_docs
from llama_operator import catalog
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.cli.verbs import build_parser

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(path):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for target in re.findall(r"(?:`|^)make ([a-z0-9-]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        assert target in targets, f"make {target}"


def test_commands_of_the_readme_are_understood():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\.venv/bin/kubectl-llama ([^#\n]+)", text, flags=re.MULTILINE)
    assert commands
    for command in commands:
        arguments = re.findall(r'"([^"]*)"|(\S+)', command)
        build_parser().parse_args([quoted or plain for quoted, plain in arguments])


def test_the_readme_counts_models_and_accelerators_right():
    known = catalog.load()
    llamas = [model for model in known.models if not model.generated]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{len(llamas)} Llama models on {len(known.accelerators)} accelerators" in text


@pytest.mark.parametrize("enum", [ConditionType, Reason])
def test_every_condition_and_reason_has_a_meaning(enum):
    assert {name for name, _ in member_docs(enum)} == {member.value for member in enum}


# Where the paths of the two tables are looked for: as they stand, below a package, or as its modules.
PLACES = [ROOT, ROOT / "operator" / "llama_operator"]
SERVING = ROOT / "serving" / "llama_serving"


def cells_of(document, heading):
    """The rows of the table whose first column is called `heading`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    table = text[text.index(f"\n| {heading} |") + 1 :].split("\n\n")[0]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in table.splitlines()[2:]]


def stands(path):
    """Whether a module, a folder or a file is at `path`; `<verb>` and `*` stand for any name."""
    _, serving, rest = path.rpartition("serving: ")
    places = [SERVING] if serving else PLACES
    pattern = rest.replace("<verb>", "*").rstrip("/")
    return any(next(place.glob(form), None) for place in places for form in (pattern, f"{pattern}.py"))


@pytest.mark.parametrize("row", cells_of("docs/designs/0012-rooms.md", "before"), ids=lambda row: row[0])
def test_where_a_module_went_it_is(row):
    _, now = row
    paths = re.findall(r"`([^`]+)`", now)
    assert paths
    assert [path for path in paths if not stands(path)] == []


@pytest.mark.parametrize("row", cells_of("CONTRIBUTING.md", "I want to"), ids=lambda row: row[0])
def test_where_a_change_goes_there_is_a_place(row):
    _, go_to, files, fails = row
    paths = re.findall(r"`([^`]+)`", go_to)
    assert paths
    assert [path for path in paths if not stands(path)] == []
    assert re.match(r"\d+", files)
    assert [path for path in re.findall(r"`(tests/[^`:]+)", fails) if not (ROOT / path).exists()] == []
