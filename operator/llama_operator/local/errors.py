"""Errors of the local runtime; the command line prints their text as it is."""

from llama_operator.errors import LlamaOperatorError


class LocalRunError(LlamaOperatorError):
    """Something on this machine keeps a local run from working; the message says what to do."""


class PortTakenError(LocalRunError):
    """The HTTP port that was asked for is in use."""


class ServiceFailedError(LocalRunError):
    """A RayService reached the stage `Failed` while the command waited for it to serve."""
