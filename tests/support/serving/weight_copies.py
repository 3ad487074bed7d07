"""Runs `python -m llama_serving.weights` as its pod does, against sources on this machine. Used by the tests of `weights`."""

import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from llama_serving.contract.weights import MANIFEST, MARKER, CopyRequest, CopyVerdict, HubSource
from llama_serving.generated import checkpoint
from support.model_hub import COMMIT

NAME = "acme/chat"
ID = "0123456789abcdef"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
LICENSE = b"The license.\n"


def model(folder, shards=4):
    """The files of a tiny model in some shards, and what the Hub has beside them. An engine can load it."""
    made = checkpoint.ensure(folder)
    files = {path.name: path.read_bytes() for path in sorted(made.iterdir())}
    files |= _sharded(files.pop("model.safetensors"), shards)
    return files | {
        "LICENSE": LICENSE,
        "README.md": b"words\n",
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "pytorch_model.bin": b"pickle",
        "modeling_acme.py": b"print()",
        "original/consolidated.00.pth": b"pickle",
    }


def _sharded(content, count):
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__", {})
    names, shards, places = sorted(header), {}, {}
    for number in range(count):
        file, own, body = f"model-{number + 1:05d}-of-{count:05d}.safetensors", {"__metadata__": metadata}, b""
        for name in names[number::count]:
            begin, end = header[name]["data_offsets"]
            own[name] = header[name] | {"data_offsets": [len(body), len(body) + end - begin]}
            body += data[begin:end]
            places[name] = file
        text = json.dumps(own).encode()
        text += b" " * (-len(text) % 8)
        shards[file] = len(text).to_bytes(8, "little") + text + body
    index = {"metadata": {"total_size": len(data)}, "weight_map": places}
    return shards | {"model.safetensors.index.json": json.dumps(index).encode()}


COPIED = {"LICENSE", "README.md"}
"""What of `model` is copied beside the generated files."""


def wait_for(is_so, seconds=60):
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)


@dataclass
class Ended:
    """How the program ended."""

    code: int
    verdict: CopyVerdict
    log: str


@dataclass
class Copier:
    """A claim, and the program that works on it."""

    claim: Path
    folder: Path
    token: str = TOKEN
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def request(self, endpoint, **more):
        """A request for the repository of these tests."""
        source = more.pop("source", None) or HubSource(repository=NAME, commit=COMMIT, endpoint=endpoint)
        return CopyRequest(id=ID, source=source, **more)

    def start(self, request, verb="copy", environment=(), **settings):
        """Start the program."""
        quick = {"stall_seconds": 30, "tick_seconds": 0.05, "report_seconds": 0.2, "pauses": [0, 0]} | settings
        log = self.folder / "termination-log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "llama_serving.weights", verb, "--claim", str(self.claim)]
        command += ["--termination-log", str(log), "--settings", json.dumps(quick)]
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "AWS_"))}
        own |= {"LLAMA_WEIGHTS": request.to_json(), "HF_TOKEN": self.token, "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        # Nobody's proxy stands before this machine.
        own |= {"no_proxy": "*", "HF_HUB_OFFLINE": "1"} | dict(environment)
        self._started.append(
            subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return self._started[-1]

    def stop(self):
        """End what a test that failed has left, so that the next one does not fail for it."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            with process:
                pass

    def ended(self, process):
        """Wait for it, and look at what every end has in common."""
        log, _ = process.communicate(timeout=300)
        path = self.folder / "termination-log"
        written = path.read_text(encoding="utf-8") if path.exists() else ""
        assert self.token not in log + written, "no token in any word"
        assert "X-Amz-Signature=" not in log + written, "and no signature"
        assert len(written.encode()) <= 4096
        return Ended(process.returncode, CopyVerdict.model_validate_json(written), log)

    def run(self, request, verb="copy", environment=(), **settings):
        """Run it to its end."""
        return self.ended(self.start(request, verb, environment, **settings))

    @property
    def copy(self):
        """Folder of the copy."""
        return self.claim / ID

    def files(self):
        """Content of the copy by path, without its own two files."""
        found = {p.relative_to(self.copy).as_posix(): p.read_bytes() for p in self.copy.rglob("*") if p.is_file()}
        return {path: content for path, content in found.items() if path not in {MANIFEST, MARKER}}

    def is_complete(self):
        """Whether pods may mount it."""
        return (self.copy / MARKER).is_file()

    @property
    def partial(self):
        """Folder of the copy in the making."""
        return self.claim / f".{ID}.partial"

    def is_held(self):
        """Whether a process works on the copy."""
        with (self.claim / f".{ID}.lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
