"""Makes histories.json.gz: random histories of writes, with the answers of the library inside kube-apiserver.

Needs Go. Run `python tests/unit/kube/twin/corpus/make_corpus.py`; `--count` and `--seed` make another corpus, `--out` puts it
elsewhere. test_merge_corpus.py holds our own merge to it.

Left out are histories in which the library leaves `null` in place of an object that lost its last field while somebody
still owns it: the API server does not store that, and we keep the empty object. Lists that merge are never empty here.
"""

import argparse
import gzip
import json
import random
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Writer:
    """Draws writes at random from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same corpus for the same seed

    def history(self) -> list[dict[str, Any]]:
        """Draw up to six writes by three managers."""
        return [
            {
                "operation": "Apply" if self._chance(0.8) else "Update",
                "manager": self._random.choice("ABC"),
                "force": self._chance(0.5),
                "object": self._some(
                    a=self._value,
                    b=self._value,
                    labels=lambda: self._some(k=self._letter, l=self._letter, m=self._letter),
                    nested=lambda: self._some(x=self._value, z=lambda: self._some(q=self._value)),
                    selector=lambda: self._some(k=self._letter, l=self._letter),
                    args=lambda: [self._value() for _ in range(self._random.randint(0, 2))],
                    finalizers=lambda: self._pick("p", "q", "r"),
                    containers=lambda: [self._container(name) for name in self._pick("n1", "n2", "n3")],
                    owners=lambda: [{"uid": uid, "k": self._value()} for uid in self._pick("u1", "u2")],
                ),
            }
            for _ in range(self._random.randint(1, 6))
        ]

    def _container(self, name: str) -> dict[str, Any]:
        def ports() -> list[dict[str, Any]]:
            keys = [{"port": port, "protocol": "TCP"} for port in self._pick(80, 81)]
            return [key | self._some(title=self._value) for key in keys]

        return {"name": name} | self._some(v=self._value, w=self._value, ports=ports)

    def _some(self, **fields: Any) -> dict[str, Any]:
        return {name: draw() for name, draw in fields.items() if self._chance(0.45)}

    def _pick(self, *items: Any) -> list[Any]:
        return self._random.sample(items, self._random.randint(1, len(items)))

    def _value(self) -> Any:
        return self._random.choice([1, 2, "x"])

    def _letter(self) -> str:
        return self._random.choice("uv")

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


def holds_null(value: Any) -> bool:
    """Whether there is a null anywhere in it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(holds_null, inside))


def main() -> None:
    """Draw, ask, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "histories.json.gz")
    options = parser.parse_args()
    writer = Writer(options.seed)
    histories = [writer.history() for _ in range(options.count)]
    done = subprocess.run(
        ["go", "run", ".", "schema.yaml"],
        cwd=HERE,
        input="\n".join(map(json.dumps, histories)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    corpus = [
        [write | {"answer": answer} for write, answer in zip(history, given, strict=True)]
        for history, given in zip(histories, answers, strict=True)
        if not holds_null([answer["object"] for answer in given])
    ]
    options.out.write_bytes(gzip.compress(json.dumps(corpus, separators=(",", ":")).encode(), mtime=0))
    print(f"{len(corpus)} of {len(histories)} histories")


if __name__ == "__main__":
    main()
