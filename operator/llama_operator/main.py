"""Entry point of `llama-operator`: settings and logs, then the process. It turns errors into exit codes."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from llama_operator.settings.options import SettingsError, load
from llama_operator.telemetry import logs

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_INVALID: Final = 2

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the operator until a signal stops it.

    Args:
        argv: Arguments without the program's name; None for those of this process.
        environment: Environment variables.

    Returns:
        0 after a signal; 1 when the Lease was lost or a watch broke, so that Kubernetes starts it again; 2 for settings,
        credentials or a key file that cannot work.
    """
    try:
        settings = load(sys.argv[1:] if argv is None else argv, environment)
    except SettingsError as error:
        print(f"llama-operator: {error}".replace("\n", "\nllama-operator: "), file=sys.stderr)  # noqa: T201 - there is no log yet
        return EXIT_INVALID
    logs.configure(settings.log_format, settings.log_level)
    # Modules never go: nobody shall look through them, neither while they come nor later.
    gc.disable()
    # After the settings: `--help` and a wrong flag answer without the second that the clients take to load.
    from llama_operator.evidence.pem import KeyFileError  # noqa: PLC0415
    from llama_operator.kube.server.credentials import CredentialsError  # noqa: PLC0415
    from llama_operator.process import operator  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    try:
        return asyncio.run(operator.run(settings, environment))
    except (CredentialsError, KeyFileError) as error:
        _LOG.error("%s", error)
        return EXIT_INVALID


if __name__ == "__main__":
    raise SystemExit(main())
