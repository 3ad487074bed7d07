"""Writes what is in an image, from its lock, as CycloneDX 1.6 JSON. Called by `__main__`.

Of the lock and the base's digest only, so that the same commit gives the same file: no time, no random serial number.
"""

import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from images.sources import Commit

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)\s*(?:;([^\\]*))?")
_SPACE: Final = uuid.UUID("2a4c5d0e-6f21-5b52-9c0e-6d1f3f5a7b90")


def pins(lock: str) -> dict[str, str]:
    """Read names and versions of a lock, without what only other systems install.

    Args:
        lock: Text of a file that `make lock` wrote.
    """
    read = {}
    for line in lock.splitlines():
        if (pin := _PIN.match(line)) and "'win32'" not in (pin[3] or ""):
            read[pin[1].lower().replace("_", "-")] = pin[2]
    return read


def document(name: str, commit: Commit, lock: str, bases: Mapping[str, str]) -> dict[str, Any]:
    """Build the document.

    Args:
        name: Name of the image.
        commit: What it is built of.
        lock: Text of its lock.
        bases: References of base images, by argument of the Dockerfile.
    """
    of_base = [_base(reference) for argument, reference in bases.items() if argument == "BASE"]
    components = [*of_base, *(_package(*pin) for pin in sorted(pins(lock).items()))]
    image = {
        "type": "container",
        "bom-ref": name,
        "name": name,
        "version": commit.version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "properties": [{"name": "revision", "value": commit.revision}],
    }
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": image},
        "components": components,
        "dependencies": [{"ref": name, "dependsOn": [component["bom-ref"] for component in components]}],
    }
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, json.dumps(body, sort_keys=True))}", **body}


def write(target: Path, content: Mapping[str, Any]) -> None:
    """Write the document."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _package(name: str, version: str) -> dict[str, Any]:
    address = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
    return {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}


def _base(reference: str) -> dict[str, Any]:
    name, _, digest = reference.partition("@")
    algorithm, _, content = digest.partition(":")
    hashes = [{"alg": "SHA-256", "content": content}] if algorithm == "sha256" else []
    repository, _, tag = name.rpartition(":")
    return {
        "type": "container",
        "bom-ref": reference,
        "name": repository or name,
        **({"version": tag} if repository else {}),
        **({"hashes": hashes} if hashes else {}),
    }
