"""How images are built: which engine, of what, and what no release may be made of. No engine runs here."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from images import bare, engines, sbom, sources
from images.__main__ import main
from images.engines import Engine, Order
from images.errors import ImageError
from images.recipes import OPERATOR, RECIPES, ROOT, check_release
from images.sources import Commit

DIGEST = f"sha256:{'0' * 64}"
COMMIT = Commit(version="1.2.3", revision="abc", epoch=1_700_000_000, dirty=False, source="https://git.example/llama")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put stand-ins for programs on a PATH that has nothing else: they print, and end with a status."""

    def put(**statuses):
        for name, status in statuses.items():
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\necho {name} says {status} >&2\nexit {status}\n")
            path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return put


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"docker": 0, "podman": 0, "buildah": 0}, "docker"),
        ({"podman": 0, "buildah": 0}, "podman"),
        ({"buildah": 0}, "buildah"),
        ({"docker": 1, "buildah": 0}, "buildah"),
        ({"docker": 1}, None),
        ({}, None),
    ],
)
def test_the_first_engine_that_answers_is_taken_and_a_client_without_its_server_is_none(programs, there, taken):
    programs(**there)
    engine, why = engines.first()
    assert (engine and engine.name) == taken
    assert [line.split()[0] for line in why] == [*engines.NAMES][: engines.NAMES.index(taken) if taken else 3]
    assert ("docker does not answer: docker says 1" in why) == (there.get("docker") == 1)


@pytest.mark.parametrize("name", engines.NAMES)
def test_a_build_has_no_cache_one_time_and_no_secret_in_its_arguments(monkeypatch, name):
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/authorities.crt")
    order = Order("localhost/a:1", Path("D"), Path("C"), 7, {"BASE": "b"}, {"k": "v"})
    command = Engine(name, build_options=("--isolation=chroot",)).command(order)
    assert command[:2] == ["build", "--isolation=chroot"]
    assert command[-1] == "C"
    given = [command[at + 1] for at, word in enumerate(command) if word == "--build-arg"]
    assert given == ["SOURCE_DATE_EPOCH=7", "BASE=b"]
    assert command[command.index("--secret") + 1] == "id=ca,src=/etc/authorities.crt"
    assert ("--timestamp=7" in command) == (name != "docker")
    assert {"--no-cache", "--layers=false"} & {*command}


@pytest.mark.parametrize(
    ("bases", "dirty", "word"),
    [
        ({"BASE": "docker.io/library/python:3.13"}, False, "BASE"),
        ({"BASE": "python@sha256:1234"}, False, "BASE"),
        ({"BASE": f"python:3.13@{DIGEST}", "OTHER": "b"}, False, "OTHER"),
        ({"BASE": f"python:3.13@{DIGEST}"}, True, "commit"),
    ],
)
def test_a_release_needs_its_bases_by_digest_and_a_commit(bases, dirty, word):
    with pytest.raises(ImageError, match=word):
        check_release(bases, dirty=dirty)
    check_release({"BASE": f"python:3.13@{DIGEST}"}, dirty=False)


def test_the_command_refuses_a_release_of_the_dockerfiles_tags_before_it_asks_an_engine(programs, capsys):
    path = os.environ["PATH"]
    programs()
    os.environ["PATH"] += f":{path}"  # git; no engine is asked before
    assert main(["--release"]) == 1
    assert "BASE: a release needs its base by digest" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--local", "--release"], "release"),
        (["--local", "llama-serving"], "registry"),
        (["--base", "llama-operator.PYTHON=x"], "has no base PYTHON"),
    ],
)
def test_the_command_says_what_to_do_instead(arguments, word, capsys):
    assert main(arguments) == 1
    assert word in capsys.readouterr().err


def test_on_a_bare_machine_it_names_debians_packages(programs, tmp_path):
    programs()
    with pytest.raises(ImageError, match="apt-get install --no-install-recommends buildah mmdebstrap"):
        bare.engine(tmp_path)
    programs(mmdebstrap=0)
    assert bare.missing() == ["buildah"]


def test_the_store_of_a_bare_machine_takes_no_image_from_a_registry(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    programs(buildah=0, mmdebstrap=0)
    engine = bare.engine(tmp_path / "store")
    policy = json.loads((tmp_path / "store" / "policy.json").read_text())
    assert policy["default"] == [{"type": "reject"}]
    assert "docker" not in policy["transports"]
    assert "--pull-never" in engine.build_options


def test_every_recipe_has_its_file_and_its_lock_and_its_bases_have_no_digest_that_nobody_looked_up():
    for recipe in RECIPES.values():
        assert recipe.path.is_file()
        assert "--hash=sha256:" in (ROOT / "requirements" / recipe.lock).read_text()
        assert recipe.defaults().keys() == {*recipe.bases}
        assert "@" not in "".join(recipe.defaults().values())
        text = recipe.path.read_text()
        assert f"requirements/{recipe.lock}" in text
        assert "--require-hashes" in text


def test_labels_hold_what_is_known_and_nothing_empty():
    labels = COMMIT.labels({"BASE": f"python:3.13@{DIGEST}"})
    short = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert short == {
        "version": "1.2.3",
        "revision": "abc",
        "created": "2023-11-14T22:13:20Z",
        "base.name": "python:3.13",
        "base.digest": DIGEST,
        "source": "https://git.example/llama",
        "documentation": "https://git.example/llama/tree/abc/docs",
    }
    unknown = Commit(version="1", revision="abc", epoch=0, dirty=True).labels({"BASE": "python:3.13"})
    assert "org.opencontainers.image.base.digest" not in unknown
    assert unknown["org.opencontainers.image.revision"] == "abc-dirty"


def test_the_context_is_what_git_knows_with_modes_and_times_of_no_clone(tmp_path):
    clone = tmp_path / "clone"
    (clone / "operator").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", clone], check=True)
    (clone / ".gitignore").write_text("*.log\n")
    for name, mode in (
        ("operator/a.py", 0o600),
        ("operator/run", 0o700),
        ("operator/a.log", 0o644),
        ("README.md", 0o664),
    ):
        (clone / name).write_text(name)
        (clone / name).chmod(mode)
    (clone / "secret.txt").write_text("not copied by any Dockerfile")
    target = tmp_path / "context"
    sources.export(clone, target, 5)
    seen = {
        str(path.relative_to(target)): (oct(path.stat().st_mode & 0o777), path.stat().st_mtime)
        for path in target.rglob("*")
        if path.is_file()
    }
    assert seen == {"README.md": ("0o644", 5), "operator/a.py": ("0o644", 5), "operator/run": ("0o755", 5)}


LOCK = "a==1.0 \\\n    --hash=sha256:00\nB_c==2.0+cpu ; platform_python_implementation != 'PyPy' \\\nd==3 ; sys_platform == 'win32' \\\n"


def test_a_bill_of_materials_is_the_lock_and_the_base_and_the_same_each_time():
    assert sbom.pins(LOCK) == {"a": "1.0", "b-c": "2.0+cpu"}
    bill = sbom.document("image", COMMIT, LOCK, {"BASE": f"r.example:5000/python:3.13@{DIGEST}"})
    assert bill == sbom.document("image", COMMIT, LOCK, {"BASE": f"r.example:5000/python:3.13@{DIGEST}"})
    base, *packages = bill["components"]
    assert (base["name"], base["version"]) == ("r.example:5000/python", "3.13")
    assert base["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    assert [package["purl"] for package in packages] == ["pkg:pypi/a@1.0", "pkg:pypi/b-c@2.0%2Bcpu"]
    references = [component["bom-ref"] for component in bill["components"]]
    assert bill["dependencies"] == [{"ref": "image", "dependsOn": references}]
    assert bill["serialNumber"].startswith("urn:uuid:")


def test_the_locks_of_images_have_the_versions_that_are_tested():
    tested = sbom.pins((ROOT / "requirements" / "all.txt").read_text())
    for name in (OPERATOR.lock, RECIPES["llama-serving-cpu"].lock):
        lock = sbom.pins((ROOT / "requirements" / name).read_text())
        assert {package: version for package, version in lock.items() if tested.get(package) != version} == {}
