"""The status endpoint tells the truth about a loaded and an idle deployment."""

import pytest

pytestmark = [pytest.mark.serving, pytest.mark.timeout(600)]


def test_the_measured_kv_cache_has_the_size_that_was_asked_for(app, eventually):
    status = eventually(
        lambda: found if (found := app.cluster.status()).reports else None, seconds=180, what="a report"
    )

    # 64 MiB / (2 layers x 4 KV heads x head size 32 x keys and values x 2 bytes).
    assert status.kv_cache_tokens == 65_536
    assert status.identity == app.config.identity
    assert (status.replicas, status.target_replicas) == (1, 1)


def test_the_queue_shows_while_more_is_asked_than_runs_and_is_gone_afterwards(app, load, eventually):
    answers = load(24, tokens=300)

    busy = eventually(
        lambda: found if (found := app.cluster.status()).queue_depth > 8 and found.running_requests else None,
        seconds=180,
        what="a queue",
    )
    # Four run, four wait in the engine; the rest is with Serve's router, where a new replica could take it.
    assert busy.running_requests <= app.config.engine.max_num_seqs
    assert busy.queue_depth <= 24
    assert max(report.waiting for report in busy.reports) <= 4

    assert [answer.result() for answer in answers] == [300] * 24
    idle = eventually(
        lambda: found if (found := app.cluster.status()).running_requests == found.queue_depth == 0 else None,
        seconds=180,
        what="the queue to be empty",
    )
    assert idle.replicas == 1
