"""What others said is repeated without credentials, without characters for terminals, and the same from try to try."""

import pytest

from llama_operator.api.said import CUT, said, shortened

SECRETS = {
    "in an address": ("pull https://jo:pa55w0rd@mirror.acme/x: 401", "pull https://***@mirror.acme/x: 401"),
    "a signed address": (
        "403 for url: https://s3.acme/w?X-Amz-Credential=AKIA%2Feu&X-Amz-Signature=0f1e2d&partNumber=1",
        "403 for url: https://s3.acme/w?X-Amz-Credential=***&X-Amz-Signature=***&partNumber=1",
    ),
    "a shared access signature": (
        "GET https://a.blob.acme/w?sv=2024&sig=aB%2B9&se=1",
        "GET https://a.blob.acme/w?sv=2024&sig=***&se=1",
    ),
    "a header": ("headers {'Authorization': 'Bearer abc.def', 'x': 1}", "headers {'Authorization': '***', 'x': 1}"),
    "a bearer": ("sent Bearer 0123456789abcdef0123", "sent Bearer ***"),
    "a token of the Hub": ("token hf_AbCdEfGhIjKlMnOpQrStUvWx is invalid", "token *** is invalid"),
    "a key of AWS": ("InvalidAccessKeyId: AKIAABCDEFGHIJKLMNOP", "InvalidAccessKeyId: ***"),
    "a web token": ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2ln now", "got *** now"),
    "a parameter": ("login failed (password=secret, user=jo)", "login failed (password=***, user=jo)"),
}


@pytest.mark.parametrize(("words", "shown"), SECRETS.values(), ids=SECRETS)
def test_a_credential_is_not_repeated(words, shown):
    assert said(words) == shown


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens=512, pad_token=0, token_ids=[1, 2]",
        "Basic authentication is required; the Bearer authentication failed",
        'secret "hugging-face" not found',
        "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint(s)",
        "http://registry.acme:5000/v2/: dial tcp 10.0.0.1:443: connect: connection refused",
        "image user@sha256:0123",
        "one line\n\tand another one",
    ],
)
def test_other_words_stay_as_they_are(words):
    assert said(words) == words


def test_what_is_no_text_is_nothing():
    assert said(None) == said(7) == ""


def test_colors_and_other_characters_for_terminals_go():
    assert said("\x1b[36mray::f()\x1b[39m failed\x1b]0;title\x07\r\x00!") == "ray::f() failed!"


@pytest.mark.parametrize(
    "mark",
    [
        " (pid={n}, ip=10.0.3.{n}, actor_id=6c1b{n}, repr=<ray.serve.Replica:llama:LlamaServer object at 0x7f8b{n}>)",
        " (pid={n}, ip=10.0.3.{n}, repr=LlamaServer(model={n}))",
        " (ServeReplica:llama:LlamaServer pid={n})",
    ],
)
def test_two_tries_are_told_in_the_same_words(mark):
    first, second = (f"ray::init(){mark.format(n=number)}\nfailed" for number in (1432, 2871))
    assert said(first) == said(second) == "ray::init()\nfailed"


def test_frames_of_a_trace_go_and_with_them_numbers_that_look_like_answers():
    trace = (
        "Error:\nTraceback (most recent call last):\n"
        '  File "/usr/lib/concurrent/futures/_base.py", line 401, in __get_result\n    raise self._exception\n'
        "          ^^^^^^\nKeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\n"
        'Traceback (most recent call last):\n  File "<frozen importlib>", line 1\nValueError: two lines\n  of one message'
    )
    between = "During handling of the above exception, another exception occurred:"
    assert said(trace) == f"Error:\nKeyError: 'a'\n\n{between}\n\nValueError: two lines\n  of one message"
    assert said(said(trace)) == said(trace)


@pytest.mark.parametrize("letter", ["a", "é", "本", "🦙"])
def test_of_a_long_text_both_ends_are_shown_the_last_one_more(letter):
    words = shortened(f"begins {letter * 2000} ends", 1024)
    assert 1010 < len(words.encode()) <= 1024
    begin, _, end = words.partition(CUT)
    assert begin.startswith("begins ")
    assert end.endswith(" ends")
    assert set(begin) | set(end) <= set(f"begins {letter}d")
    assert len(end) > 2 * len(begin)
    assert shortened("short", 1024) == "short"
