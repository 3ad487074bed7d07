"""Exit codes of all commands, with their meaning. Shown by every `--help` and by docs/reference/cli.md."""

from collections.abc import Mapping

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_DOES_NOT_FIT = 3
EXIT_LICENSE_REFUSED = 4
EXIT_NOT_READY = 5
EXIT_TAMPERED = 6
EXIT_INTERRUPTED = 130

EXIT_CODES: Mapping[int, str] = {
    EXIT_OK: "it fits, it is Ready, or it was done",
    EXIT_FAILED: "something failed: no such object, no connection, a missing right, nothing to roll back to",
    EXIT_INVALID: "the manifest or the command line is invalid",
    EXIT_DOES_NOT_FIT: "it does not fit (plan, diff, run)",
    EXIT_LICENSE_REFUSED: "the license refuses it (plan, diff, run, license explain), or was not checked (plan --require-license)",
    EXIT_NOT_READY: "it is not Ready (explain), or something that is needed is missing (doctor)",
    EXIT_TAMPERED: "recorded decisions were changed, removed, inserted or reordered, or are not signed (license verify)",
    EXIT_INTERRUPTED: "interrupted",
}
"""Exit codes of all commands with their meaning."""
