"""Headers of answers."""

import pytest

from llama_serving.door.headers import answered

PLAIN = (b"content-type", b"application/json")
STREAM = (b"Content-Type", b"text/event-stream; charset=utf-8")
OURS = (b"x-request-id", b"one")
NO = (b"x-accel-buffering", b"no")


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ([], [OURS]),
        ([PLAIN], [PLAIN, OURS]),
        ([(b"X-Request-Id", b"of-serve"), PLAIN], [PLAIN, OURS]),
        ([STREAM], [STREAM, OURS, NO]),
        ([STREAM, (b"X-Accel-Buffering", b"yes")], [STREAM, OURS, NO]),
        ([PLAIN, (b"x-accel-buffering", b"yes")], [PLAIN, (b"x-accel-buffering", b"yes"), OURS]),
    ],
)
def test_the_door_names_the_request_and_lets_no_proxy_keep_a_stream(headers, sent):
    assert answered(headers, "one") == sent
    assert answered(answered(headers, "two"), "one") == sent
