"""Which LlamaDeployment a command line means, and all that is wrong with all of its files."""

import subprocess
import sys
from pathlib import Path

import pytest

from llama_operator.cli.main import main
from llama_operator.cli.shared import files
from llama_operator.errors import InvalidManifestError

ROOT = Path(__file__).resolve().parents[4]
TINY = (ROOT / "manifests/samples/tiny-cpu.yaml").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    def write(**contents):
        for name, content in contents.items():
            (tmp_path / f"{name}.yaml").write_text(content, encoding="utf-8")
        return str(tmp_path)

    return write


def test_a_folder_holds_the_deployment_and_its_records(folder):
    acceptance = (ROOT / "manifests/samples/license-acceptance.yaml").read_text(encoding="utf-8")
    manifests = files.read([folder(chat=TINY, records=acceptance, other="kind: ConfigMap\n")])
    assert manifests.deployment.metadata.name == "tiny"
    assert len(manifests.acceptances) >= 1


def test_all_mistakes_of_all_files_come_in_one_answer(folder, capsys):
    path = folder(
        a=TINY.replace("minReplicas: 1", "minReplicas: 9").replace("accelerator: CPU", "accelerator: 5"),
        b="x: 1\nx: 2\n",
        c=TINY.replace("name: tiny\n", "name: Tiny\n") + "---\n" + TINY.replace("spec:", "spce:"),
    )
    assert main(["plan", "-f", path]) == 2
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        f"error: LlamaDeployment tiny in {path}/a.yaml is invalid:",
        f"error: {path}/b.yaml is invalid:",
        f"error: LlamaDeployment Tiny in {path}/c.yaml is invalid:",
        f"error: LlamaDeployment tiny in {path}/c.yaml is invalid:",
    ]
    for field in ("spec.hardware.accelerator", "spec.scaling.maxReplicas", "  x\n", "metadata.name", "  spce\n"):
        assert field in err


@pytest.mark.parametrize(
    ("contents", "name", "words"),
    [
        ({"a": "# nothing\n"}, None, "there is no LlamaDeployment"),
        (
            {"a": TINY, "b": TINY.replace("name: tiny\n", "name: two\n")},
            None,
            "one LlamaDeployment is needed, there are",
        ),
        ({"a": TINY}, "chat", "there is no LlamaDeployment chat; there are tiny"),
        ({"a": TINY, "b": TINY}, None, "the same name stands twice"),
        ({"a": TINY, "b": TINY}, "tiny", "the same name stands twice"),
    ],
)
def test_which_deployment_is_meant_has_to_be_clear(contents, name, words, folder):
    with pytest.raises(InvalidManifestError) as caught:
        files.read([folder(**contents)], name=name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["models"], ["models", "-o", "json"], ["plan", "-f", "manifests/samples/tiny-cpu.yaml"]]
)
def test_a_reader_that_has_enough_is_no_error(arguments):
    script = f'"{sys.executable}" -m llama_operator.cli.main {" ".join(arguments)} | head -n 1 > /dev/null; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_full_disk_is_one_sentence():
    script = f'"{sys.executable}" -m llama_operator.cli.main models > /dev/full'
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
