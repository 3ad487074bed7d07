from dataclasses import dataclass

import pytest

from llama_serving.board.status import StatusBoard, summarize
from llama_serving.config import EngineSettings, ModelSource, Placement, ServingConfig
from llama_serving.contract.status import DeploymentIdentity, ReplicaReport
from llama_serving.engine.kv_cache import kv_cache_size


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return StatusBoard(clock)


@pytest.fixture
def config():
    return ServingConfig(
        model_id="tiny",
        source=ModelSource(kind="Generated", location="tiny"),
        engine=EngineSettings(tensor_parallel_size=1, max_model_len=512, max_num_seqs=4, cpu_kv_cache_mib=64),
        placement=Placement(device="CPU"),
        identity=DeploymentIdentity(namespace="team-a", name="chat", revision="chat-1"),
    )


def report(replica="r1", waiting=0, running=0, tokens=None, concurrency=None):
    return ReplicaReport(
        replica=replica,
        waiting=waiting,
        running=running,
        kv_cache_usage=0.5,
        kv_cache_tokens=tokens,
        max_concurrency=concurrency,
    )


def test_an_empty_board_knows_nothing(board):
    assert board.snapshot() == ((), 0)


def test_the_latest_report_of_every_replica_counts(board):
    board.report_replica(report("b", waiting=1))
    board.report_replica(report("a", waiting=2))
    board.report_replica(report("b", waiting=3))

    reports, _ = board.snapshot()

    assert [(found.replica, found.waiting) for found in reports] == [("a", 2), ("b", 3)]


def test_open_requests_of_all_ingresses_add_up(board):
    board.report_ingress("one", 3)
    board.report_ingress("two", 4)
    board.report_ingress("one", 5)

    assert board.snapshot() == ((), 9)


def test_a_sender_that_went_silent_is_forgotten(board, clock):
    board.report_replica(report("gone"))
    board.report_ingress("gone", 7)
    clock.now += 11
    board.report_replica(report("alive"))

    assert board.snapshot() == ((report("alive"),), 0)


def test_a_replica_that_says_goodbye_is_forgotten_at_once(board):
    board.report_replica(report("r1"))
    board.forget_replica("r1")
    board.forget_replica("never-seen")

    assert board.snapshot() == ((), 0)


def test_without_a_replica_everything_is_zero(config):
    status = summarize(config, reports=(), open_requests=0, running=0, target=0)

    assert (status.replicas, status.target_replicas, status.queue_depth, status.running_requests) == (0, 0, 0, 0)
    assert status.kv_cache_tokens is None
    assert status.identity == config.identity


def test_what_haproxy_of_one_node_does_not_do_is_told_of_all(config):
    reports = (report("a"), report("b").model_copy(update={"haproxy_fault": "no time limit"}))
    assert summarize(config, reports=reports, open_requests=0, running=2, target=2).haproxy_fault == "no time limit"
    assert summarize(config, reports=reports[:1], open_requests=0, running=1, target=1).haproxy_fault == ""


def test_requests_that_wait_for_the_first_replica_are_a_queue(config):
    assert summarize(config, reports=(), open_requests=6, running=0, target=1).queue_depth == 6


def test_what_is_open_and_does_not_run_waits_in_an_engine_or_in_the_router(config):
    reports = (report("a", waiting=4, running=4), report("b", waiting=1, running=4))

    status = summarize(config, reports=reports, open_requests=30, running=2, target=3)

    assert status.queue_depth == 30 - 8
    assert status.running_requests == 8


def test_the_engines_queue_counts_while_an_ingress_has_not_reported(config):
    status = summarize(config, reports=(report(waiting=5, running=4),), open_requests=0, running=1, target=1)

    assert status.queue_depth == 5


def test_the_smallest_kv_cache_is_what_can_be_relied_on(config):
    reports = (report("a", tokens=900, concurrency=1.8), report("b", tokens=800, concurrency=1.6), report("c"))

    status = summarize(config, reports=reports, open_requests=0, running=3, target=3)

    assert (status.kv_cache_tokens, status.max_concurrency) == (800, 1.6)


def test_an_operator_understands_pods_that_are_newer_and_pods_that_are_older(config):
    status = summarize(config, reports=(report(tokens=900, concurrency=1.8),), open_requests=0, running=1, target=1)
    newer = status.model_dump(mode="json") | {"field_of_the_future": 1}
    newer["reports"][0]["another"] = {}

    assert type(status).model_validate(newer) == status

    older = status.model_dump(mode="json")
    del older["max_concurrency"], older["reports"][0]["max_concurrency"]
    assert type(status).model_validate(older).max_concurrency is None


@dataclass
class CacheConfig:
    """What vLLM knows of its cache."""

    num_gpu_blocks: int | None
    block_size: int = 16


@dataclass
class SelfAwareCacheConfig(CacheConfig):
    kv_cache_max_concurrency: float | None = None


@pytest.mark.parametrize(
    ("cache", "length", "expected"),
    [
        (CacheConfig(None), 512, (None, None)),
        (CacheConfig(100), 512, (1600, None)),
        (SelfAwareCacheConfig(None), 512, (None, None)),
        (SelfAwareCacheConfig(100), 512, (1600, None)),
        (SelfAwareCacheConfig(100, kv_cache_max_concurrency=100 / 32), 512, (1600, 100 / 32)),
        # A sequence of 500 takes the same 32 blocks.
        (SelfAwareCacheConfig(100, kv_cache_max_concurrency=100 / 32), 500, (1600, 100 / 32)),
        # One of 100 on CPU a whole block of 128.
        (SelfAwareCacheConfig(7, 128, kv_cache_max_concurrency=7.0), 100, (7 * 128, 7.0)),
        # Two kinds of attention: a sequence takes 32 blocks of one and 8 of the other from the same pool.
        (SelfAwareCacheConfig(400, kv_cache_max_concurrency=10.0), 512, (5120, 10.0)),
        # Three sequences and a third: floating point must not lose a token.
        (SelfAwareCacheConfig(100, kv_cache_max_concurrency=100 / 30), 480, (1600, 100 / 30)),
    ],
)
def test_the_measured_cache_is_told_in_whole_blocks(cache, length, expected):
    assert kv_cache_size(cache, length) == expected


def test_the_oldest_engine_among_the_replicas_is_told(config):
    versions = ["0.33.0", "0.9.1", None, "0.32.0+cpu"]
    reports = tuple(report(f"r{n}").model_copy(update={"engine_version": v}) for n, v in enumerate(versions))
    told = [
        summarize(config, reports=some, open_requests=0, running=1, target=1).engine_version for some in (reports, ())
    ]
    assert told == ["0.9.1", None]
