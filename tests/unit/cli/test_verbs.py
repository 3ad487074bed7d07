"""The verbs of the command line: each is a folder that registers itself, and costs nothing while another one runs."""

import argparse
import ast
import inspect
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from llama_operator import cli
from llama_operator.cli import main as entry_point
from llama_operator.cli.main import main
from llama_operator.cli.verbs import VERBS, build_parser, parse

FOLDER = Path(cli.__file__).parent
OFFLINE = {
    "plan": ["plan", "-f", "manifests/samples/llama-3.3-70b-fp8-h100.yaml"],
    "cost": ["cost", "-f", "manifests/samples/llama-3.3-70b-fp8-h100.yaml"],
    "simulate": [
        "simulate",
        "-f",
        "manifests/samples/llama-3.3-70b-fp8-h100.yaml",
        "--trace",
        "steady:high=2,length=30",
    ],
    "models": ["models"],
    "usage": ["usage", "chat", "-f", "/dev/null"],
    "license template": ["license", "template", "llama-3.3-70b-instruct"],
    "license explain": ["license", "explain", "-f", "manifests/samples/tiny-cpu.yaml"],
    "license report": ["license", "report", "-f", "manifests/samples/tiny-cpu.yaml"],
    "license verify": ["license", "verify", "/dev/null"],
}


def members(parser):
    """Commands of a parser by name."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def commands(parser, above=""):
    """Every command that can be run, by its whole name."""
    for name, child in members(parser).items():
        yield from commands(child, f"{above}{name} ") if members(child) else [(above + name, child)]


ALL = dict(commands(build_parser()))


def test_every_folder_but_shared_is_a_verb_and_every_verb_a_folder():
    folders = {path.parent.name for path in FOLDER.glob("*/__init__.py")} - {"shared"}
    assert folders == set(VERBS)
    assert len(set(VERBS)) == len(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_registers_its_own_command_and_no_other(verb):
    assert list(members(build_parser((verb,)))) == [verb]


def test_help_lists_the_verbs_in_their_order():
    assert tuple(members(build_parser())) == VERBS


@pytest.mark.parametrize("name", ALL)
def test_what_a_command_runs_exists_in_the_folder_of_its_verb(name):
    module, _, function = ALL[name].get_default("run").partition(":")
    assert module.startswith(f"llama_operator.cli.{name.split()[0]}.")
    found = getattr(import_module(module), function)
    assert len(inspect.signature(found).parameters) == 2


def test_the_entry_point_names_no_verb():
    tree = ast.parse(inspect.getsource(entry_point))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not texts & set(VERBS)
    assert not {verb for verb in VERBS for module in modules if f".cli.{verb}" in module}


@pytest.mark.parametrize("verb", VERBS)
def test_arguments_are_parsed_without_what_the_verb_needs_to_run(verb):
    code = (
        "import sys\n"
        "from llama_operator.cli.verbs import parse\n"
        "try:\n"
        f"    parse(['{verb}', '--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'kubernetes', 'aiohttp', 'rich', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "others = [name for name in sys.modules if name.startswith('llama_operator.cli.') and name.endswith('.arguments')]\n"
        f"wanted = ['llama_operator.cli.shared.arguments', 'llama_operator.cli.{verb}.arguments']\n"
        "sys.exit(f'imported: {heavy or others}' if heavy or sorted(others) != sorted(wanted) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", OFFLINE)
def test_a_command_without_a_cluster_imports_no_kubernetes_client(name):
    code = (
        "import sys\n"
        "from llama_operator.cli.main import main\n"
        f"main({OFFLINE[name]!r})\n"
        "heavy = {'kubernetes', 'aiohttp', 'kopf'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ALL)
def test_help_of_every_command_lists_exit_codes(name, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*name.split(), "--help"])
    assert caught.value.code == 0
    assert "exit codes:" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(ALL) - {"models"}))
def test_help_of_every_command_teaches_by_examples_that_are_understood(name):
    text = ALL[name].epilog.split("examples:")[1]
    lines = re.findall(r"^ *(?:until )?.*?kubectl llama ([^;#>\n]*)", text, flags=re.MULTILINE)
    assert any(line.startswith(name) for line in lines)
    for line in lines:
        parse(shlex.split(re.split(r"\s{2,}", line)[0]))


@pytest.mark.parametrize("name", ["get", "explain", "diff", "history", "rollback", "doctor"])
def test_commands_on_a_cluster_take_a_context(name):
    assert "--context" in ALL[name].format_help()


def test_a_word_that_is_no_verb_is_answered_with_the_verbs(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["plna"])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert all(f"'{verb}'" in err or verb in err for verb in VERBS)


@pytest.mark.parametrize("port", ["0", "-5", "99999", "80a", "٣"])
def test_a_port_that_is_none_is_refused_before_anything_starts(capsys, port):
    with pytest.raises(SystemExit) as caught:
        main(["run", "-f", "manifests/samples/tiny-cpu.yaml", f"--port={port}"])
    assert caught.value.code == 2
    assert f"whole number from 1 to 65535, not {port}" in capsys.readouterr().err
