"""The plane with all that manifests/install.yaml holds, for all modules of this folder."""

import json
from contextlib import contextmanager

import pytest
import yaml


@pytest.fixture(scope="module")
def everything_installed(furnished, bare_server, with_definitions, root):
    """The plane with everything that manifests/install.yaml holds; the definitions stay when the rest goes.

    A server is busy for a quarter of a minute with definitions that go and come again.
    """
    return furnished.with_("all of install.yaml", lambda: installed(with_definitions(bare_server), root))


@contextmanager
def installed(plane, root):
    manifest = (root / "manifests" / "install.yaml").read_text()
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    yield plane
    for kind in ("licenseacceptance", "licensepolicy", "llamamodel"):
        plane.kubectl("delete", kind, "--all")
    rest = [obj for obj in yaml.safe_load_all(manifest) if obj and obj["kind"] != "CustomResourceDefinition"]
    leftovers = {"apiVersion": "v1", "kind": "List", "items": rest}
    plane.kubectl("delete", "--ignore-not-found", "--timeout=240s", "-f", "-", stdin=json.dumps(leftovers))
