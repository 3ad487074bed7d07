"""The operator image as buildah built it on this machine: what is in it, that it runs, and that it comes out the same twice.

`make test-images` runs it, as root on Debian. Nothing of a registry is needed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from images.__main__ import FOLDER
from images.layout import Layout
from images.recipes import OPERATOR, ROOT
from images.sbom import pins

LABELS = ("title", "description", "licenses", "vendor", "version", "revision", "created", "base.name", "base.digest")
USER = 65532

pytestmark = pytest.mark.images


def build(output):
    command = [sys.executable, "-m", "images", "--local", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "tools")}, check=True)
    return Layout(output / OPERATOR.name)


@pytest.fixture(scope="module")
def built():
    return build(FOLDER / "test")


@pytest.fixture(scope="module")
def root(built, tmp_path_factory):
    target = tmp_path_factory.mktemp("root")
    target.chmod(0o755)
    built.unpack(target)
    return target


def run(root, *command):
    """Run as the numeric user, in a root that is mounted read-only."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec /usr/sbin/chroot --userspec=65532:65532 "$0" "$@"'
    variables = {"PATH": "/opt/llama-operator/bin:/usr/bin", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
    unshared = ["unshare", "--mount", "--propagation=private", "sh", "-ec", script, str(root), *command]
    return subprocess.run(unshared, env=variables, capture_output=True, text=True, check=False)


def python(root, code):
    done = run(root, "python", "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_second_build_of_the_same_files_over_the_same_base_has_the_same_digest(built):
    again = build(FOLDER / "test-again")
    assert again.configuration == built.configuration
    assert again.manifest == built.manifest
    assert again.digest == built.digest


def test_it_runs_as_a_number_and_starts_the_operator(built):
    configuration = built.configuration["config"]
    assert configuration["User"] == f"{USER}:{USER}"
    assert configuration["Entrypoint"] == ["llama-operator"]
    assert configuration["WorkingDir"] == "/tmp"
    assert "8081/tcp" in configuration["ExposedPorts"]
    assert "Healthcheck" not in configuration


def test_its_labels_say_what_it_is_and_of_what_it_was_made(built):
    labels = built.configuration["config"]["Labels"]
    assert {key.removeprefix("org.opencontainers.image.") for key in labels} >= {*LABELS}
    assert labels["org.opencontainers.image.created"] == built.configuration["created"]
    assert labels["org.opencontainers.image.base.digest"].startswith("sha256:")


def test_no_file_runs_with_the_rights_of_its_owner_or_group(root):
    special = [
        path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000
    ]
    assert special == []


def test_there_is_nothing_to_install_with(root):
    installers = "('pip', 'setuptools', 'wheel', 'ensurepip', 'pkg_resources')"
    left = python(
        root, f"import importlib.util as u, json; print(json.dumps([n for n in {installers} if u.find_spec(n)]))"
    )
    assert left == []
    assert [path for path in root.rglob("pip*") if path.parent.name == "bin"] == []
    assert not (root / "usr/share/python-wheels").exists()


def test_all_sources_that_can_be_imported_have_bytecode_of_unchecked_hash(root):
    folders = [Path(folder) for folder in python(root, "import json, sys; print(json.dumps(sys.path))") if folder]
    tag = python(root, "import json, sys; print(json.dumps(sys.implementation.cache_tag))")
    sources = {path for folder in folders for path in (root / folder.relative_to("/")).rglob("*.py")}
    assert len(sources) > 2000
    without = []
    for path in sources:
        code = path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc"
        # Its second word: 1 for a hash instead of a time, 2 more for one that is checked.
        if not code.is_file() or int.from_bytes(code.read_bytes()[4:8], "little") != 1:
            without.append(path)
    assert without == []


def test_it_holds_what_the_lock_says_and_nothing_else(root):
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    held = {name.lower().replace("_", "-").replace(".", "-"): version for name, version in python(root, code).items()}
    lock = pins((ROOT / "requirements" / OPERATOR.lock).read_text())
    assert held == {**lock, "llama-operator": held["llama-operator"]}


def test_the_operator_runs_as_that_number_with_a_read_only_root(root):
    done = run(root, "llama-operator", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("0.1.0")
    assert run(root, "touch", "/tmp/a").returncode != 0, "the root was not read-only"
    assert run(root, "id", "-u").stdout.strip() == str(USER)


def test_the_bill_of_materials_names_the_base_and_each_package(built):
    bill = json.loads(built.folder.with_name(f"{OPERATOR.name}.cdx.json").read_text())
    labels = built.configuration["config"]["Labels"]
    base, *packages = bill["components"]
    assert f"sha256:{base['hashes'][0]['content']}" == labels["org.opencontainers.image.base.digest"]
    lock = pins((ROOT / "requirements" / OPERATOR.lock).read_text())
    assert {package["name"]: package["version"] for package in packages} == lock
