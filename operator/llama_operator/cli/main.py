"""Entry point of `kubectl-llama`: parses the arguments, runs the verb that they name, and turns errors into exit codes.

argparse rather than a larger library, and a verb imported only when it is called: `plan` has to answer in the time that
a person takes to look up (docs/designs/0004-command-line.md).
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from llama_operator.cli.shared import terminal
from llama_operator.cli.shared.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_INVALID, EXIT_OK
from llama_operator.cli.verbs import parse
from llama_operator.errors import InvalidManifestError, InvalidManifestsError, LlamaOperatorError

if TYPE_CHECKING:
    from llama_operator.cli.shared.connection import Connector


def main(argv: Sequence[str] | None = None, *, connector: "Connector | None" = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: Arguments; None for those of the process.
        connector: Opens the cluster for the commands that need one; None for the one that the kubeconfig names.
    """
    with terminal.plain_streams():
        return _run(sys.argv[1:] if argv is None else argv, connector)


def _run(argv: Sequence[str], connector: "Connector | None") -> int:
    arguments = parse(argv)
    try:
        return _loaded(arguments.run)(arguments, connector)
    except InvalidManifestError as error:
        for part in error.errors if isinstance(error, InvalidManifestsError) else (error,):
            _print_invalid(part)
        return EXIT_INVALID
    except LlamaOperatorError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `kubectl llama ... | head` is no error; keep the interpreter from complaining at exit.
        sys.stderr.close()
        return EXIT_OK
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED


def _loaded(path: str) -> Callable[[argparse.Namespace, "Connector | None"], int]:
    """Import the function that a verb names as `module:function`."""
    # We use none of pydantic's plugins, and to look for them it reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    module, _, name = path.partition(":")
    # What imports make stays until the end: looking for garbage in it is a tenth of the time of `plan`.
    gc.disable()
    try:
        function: Callable[[argparse.Namespace, Connector | None], int] = getattr(import_module(module), name)
    finally:
        gc.freeze()
        gc.enable()
    return function


def _print_invalid(error: InvalidManifestError) -> None:
    print(f"error: {error.subject} is invalid:", file=sys.stderr)
    for problem in error.problems:
        print(f"  {problem.path}", file=sys.stderr)
        print(f"      {problem.problem}", file=sys.stderr)
        if problem.allowed:
            print(f"      {problem.allowed}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
