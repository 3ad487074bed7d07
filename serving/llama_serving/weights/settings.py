"""How long the program waits, and how much it does at once. Made by `weights.command` of its arguments."""

from llama_serving.contract.frozen import Frozen


class CopySettings(Frozen):
    """Times are in seconds."""

    workers: int = 8
    """Files that are fetched at once."""
    stall_seconds: float = 300.0
    """A copy that moves less than a MiB in this time hangs. The Hub's client writes pieces of 10 MB: shorter, and eight files
    that share a slow line would look like none."""
    tick_seconds: float = 1.0
    """How often the watcher looks."""
    report_seconds: float = 30.0
    """How often the log gets a line."""
    pauses: tuple[float, ...] = (2.0, 10.0)
    """Before each further try of one file."""
