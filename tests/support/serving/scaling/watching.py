"""Asks the status endpoint again and again while something happens, as the operator does."""

import contextlib
import threading
from collections.abc import Iterator

import httpx

from llama_serving.config import STATUS_PATH
from llama_serving.contract.status import ServingStatus
from support.serving.ray_cluster import RayCluster

_SECONDS = 0.2


class Watched:
    """Answers of the status endpoint, in order."""

    def __init__(self) -> None:
        self.answers: list[ServingStatus] = []
        self.refused: list[str] = []

    @property
    def replicas(self) -> set[int]:
        """How many replicas were said to run."""
        return {answer.replicas for answer in self.answers}


@contextlib.contextmanager
def watching(cluster: RayCluster) -> Iterator[Watched]:
    """Ask until the end of the context."""
    watched, over = Watched(), threading.Event()

    def ask() -> None:
        while not over.wait(_SECONDS):
            try:
                answer = cluster.get(STATUS_PATH)
            except httpx.HTTPError as error:
                watched.refused.append(repr(error))
                continue
            if answer.status_code == httpx.codes.OK:
                watched.answers.append(ServingStatus.model_validate(answer.json()))
            else:
                watched.refused.append(f"{answer.status_code} {answer.text}")

    asker = threading.Thread(target=ask, name="watching")
    asker.start()
    try:
        yield watched
    finally:
        over.set()
        asker.join()
