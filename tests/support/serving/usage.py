"""Which replica answered which request, by the usage logs of a cluster. For `tests/serving` and `make bench-routing`."""

from collections.abc import Iterator
from pathlib import Path

from llama_serving.contract.usage import USAGE_FILES, UsageEvent
from support.changing_folders import paths_below


def events(folder: Path) -> Iterator[tuple[str, UsageEvent]]:
    """Yield each line of the logs below `folder`, with the replica that wrote it."""
    for file in paths_below(folder, USAGE_FILES):
        replica = file.stem.rpartition("-")[0]
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            # The last line may be half written.
            if line.endswith("\n"):
                yield replica, UsageEvent.model_validate_json(line)
