"""Serve's log goes on when somebody configures logging anew, as vLLM does when an engine starts."""

import logging
import logging.config
import logging.handlers

import pytest

from llama_serving.engine import serve_log


@pytest.fixture
def logger(tmp_path):
    """As Serve configures it: a memory handler that writes to a file."""
    found = logging.getLogger("ray.serve")
    file = logging.FileHandler(tmp_path / "replica.log")
    handler = logging.handlers.MemoryHandler(1, target=file)
    found.addHandler(handler)
    yield found
    found.removeHandler(handler)
    file.close()


def configure():
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})


def test_the_log_of_a_replica_goes_on(logger, tmp_path):
    logger.warning("before")
    with serve_log.kept_open():
        configure()
    logger.warning("after")
    assert (tmp_path / "replica.log").read_text().split() == ["before", "after"]


def test_of_requests_nothing_is_written_and_of_the_rest_everything(logger, tmp_path):
    serve_log.without_requests()
    try:
        logger.warning("POST /v1/chat/completions 200", extra={"serve_access_log": True})
        logger.warning("said", extra={"serve_access_log": None})
        logger.warning("more")
    finally:
        logger.filters.clear()
    assert (tmp_path / "replica.log").read_text().split() == ["said", "more"]


def test_a_handler_with_another_file_by_then_keeps_that(logger, tmp_path):
    (handler,) = (one for one in logger.handlers if isinstance(one, logging.handlers.MemoryHandler))
    other = logging.FileHandler(tmp_path / "other.log")
    with serve_log.kept_open():
        handler.setTarget(other)
    assert handler.target is other
    other.close()
