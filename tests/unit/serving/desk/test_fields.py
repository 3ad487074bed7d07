import pytest

from llama_serving.contract.usage import Dialect
from llama_serving.desk.reading import RefusedError
from llama_serving.desk.wish import wish_of

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def wish(body, dialect=Dialect.CHAT, body_bytes=300, most_choices=8, domains=()):
    return wish_of(body, dialect, body_bytes=body_bytes, most_choices=most_choices, media_domains=domains)


def refused(body, dialect=Dialect.CHAT):
    with pytest.raises(RefusedError) as error:
        wish(body, dialect)
    assert error.value.refusal.status == 400
    return error.value.refusal


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kv_transfer_params", {"do_remote_prefill": True}),
        ("ec_transfer_params", {}),
        ("vllm_xargs", {"session_id": "x"}),
        ("prompt_embeds", "AAAA"),
        ("logits_processors", ["os.system"]),
        ("prompt_logprobs", 0),
        ("prompt_logprobs", 5),
        ("best_of", 4),
        ("best_of", True),
        ("use_beam_search", True),
        ("use_beam_search", 1),
        ("chat_template", "{{ x }}"),
        ("priority", -1),
        ("priority", "0"),
        ("request_id", "somebody-elses"),
        ("session_id", "x"),
        ("mm_processor_kwargs", {"num_crops": 99}),
        ("media_io_kwargs", {}),
        ("n", 9),
        ("n", 0),
        ("n", 1.5),
        ("n", True),
        ("n", "2"),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1 << 40),
        ("max_tokens", "many"),
        ("max_completion_tokens", [1]),
        ("stream", "yes"),
        ("stream", 1),
        ("model", 7),
        ("stop", ["x"] * 17),
        ("stop_token_ids", [1] * 17),
        ("chat_template_kwargs", {"chat_template": "x"}),
        ("chat_template_kwargs", "x"),
        ("tools", [{"type": "mcp", "server_url": "http://10.0.0.1"}]),
    ],
)
def test_a_field_that_clients_may_not_set_is_named(field, value):
    refusal = refused(CHAT | {field: value})
    assert field in refusal.message
    assert refusal.param.startswith(field)


@pytest.mark.parametrize("field", ["previous_response_id", "background", "store", "conversation"])
def test_responses_are_not_kept(field):
    refusal = refused(
        {"model": "m", "input": "Hello", field: "resp_1" if field.endswith("id") else True}, Dialect.RESPONSES
    )
    assert field in refusal.message


@pytest.mark.parametrize(
    "fields",
    [
        {"best_of": 1},
        {"best_of": None},
        {"priority": 0},
        {"use_beam_search": False},
        {"kv_transfer_params": None},
        {"n": 2.0},
        {"n": None},
        {"stop": ["x"] * 16},
        {"stop": "x"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"chat_template_kwargs": None},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"url": "http://x"}}}]},
        {"store": True},  # of chat: the engine keeps nothing
        {"user": "somebody", "metadata": {"a": "b"}},
        {"logprobs": True, "top_logprobs": 5},
    ],
)
def test_what_changes_nothing_passes(fields):
    wish(CHAT | fields)


def test_a_whole_number_as_a_float_becomes_one_for_the_engine():
    body = CHAT | {"n": 2.0, "max_tokens": 50.0}
    assert wish(body).sequences == 2
    assert (body["n"], body["max_tokens"]) == (2, 50)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}},
        {"type": "image_url", "image_url": "https://example.com/x.png"},
        {"image_url": "https://example.com/x.png"},
        {"type": "text", "text": "x", "image_url": "https://example.com/x.png", "uuid": None},
        {"type": "image_url", "image_url": {"url": " data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "DATA:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": ["data:"]}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "video_url", "video_url": {"url": "ftp://example.com"}},
        {"type": "audio_url", "audio_url": {"url": "//example.com"}},
        {"type": "input_file", "file_url": "https://example.com/x.pdf"},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "text", "image_embeds": "AAAA"},
        {"type": "prompt_embeds", "data": "AAAA"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "uuid": "somebody-elses"},
        {"type": "image_url", "image_url": None, "uuid": "somebody-elses"},
    ],
)
@pytest.mark.parametrize("place", ["chat", "tool result", "system", "responses", "responses item", "tool output"])
def test_nothing_is_fetched_and_nothing_of_others_is_named(part, place):
    body, dialect = {
        "chat": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]}, Dialect.CHAT),
        "tool result": (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [part]}]}], "max_tokens": 5},
            Dialect.MESSAGES,
        ),
        "system": ({"system": [part], "messages": []}, Dialect.MESSAGES),
        "responses": ({"input": [{"role": "user", "content": [part]}]}, Dialect.RESPONSES),
        "responses item": ({"input": [part]}, Dialect.RESPONSES),
        "tool output": ({"input": [{"type": "function_call_output", "output": [part]}]}, Dialect.RESPONSES),
    }[place]
    refusal = refused({"model": "m"} | body, dialect)
    assert "[" in refusal.param


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "see https://example.com"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": "data:image/png;base64,AAAA"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "tool_use", "id": "1", "name": "fetch", "input": {"url": "https://example.com", "uuid": "1"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ],
)
def test_content_that_comes_with_the_request_passes(part):
    wish({"model": "m", "messages": [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Hello", (1, 100)),
        ([1, 2, 3], (1, 3)),
        ([[1, 2, 3], [4, 5]], (2, 5)),
        (["one", "two"], (2, 100)),
        ([], (1, 100)),
    ],
)
def test_prompts_are_counted_where_they_are_tokens_and_estimated_from_bytes(prompt, expected):
    found = wish({"model": "m", "prompt": prompt, "n": 1}, Dialect.COMPLETIONS)
    assert (found.sequences, found.prompt_tokens) == expected
    assert (found.output_tokens, found.usual_output_tokens) == (None, 16)


def test_choices_and_prompts_multiply():
    assert wish({"model": "m", "prompt": ["a", "b"], "n": 3}, Dialect.COMPLETIONS).sequences == 6


def test_an_image_is_no_text():
    url = "data:image/png;base64," + "A" * 90_000
    body = {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
    assert wish(body, body_bytes=90_200).prompt_tokens < 2300


def with_image(address):
    return {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}],
    }


@pytest.mark.parametrize(
    "address",
    [
        "https://images.acme.example/a.png",
        "http://images.acme.example:8080/a.png?size=1",
        "https://IMAGES.acme.example/a.png",
        "data:image/png;base64,AAAA",
    ],
)
def test_an_image_may_come_from_a_host_that_is_named(address):
    assert wish(with_image(address), domains=("images.acme.example",)).sequences == 1


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/a.png",
        "https://sub.images.acme.example/a.png",
        "https://images.acme.example.evil.example/a.png",
        "https://images.acme.example@evil.example/a.png",
        "https://evil.example\\@images.acme.example/a.png",
        "https://evil.example#@images.acme.example/a.png",
        "https://images.acme.example:80@evil.example/",
        "https:/images.acme.example/a.png",
        "//images.acme.example/a.png",
        "file:///etc/passwd",
        "ftp://images.acme.example/a.png",
        "https://images.acme.example/a b",
        "https://169.254.169.254/latest",
        "https://[::1]/a.png",
        "",
    ],
)
def test_an_image_may_come_from_nowhere_else(address):
    with pytest.raises(RefusedError) as error:
        wish(with_image(address), domains=("images.acme.example",))
    assert "only from images.acme.example" in error.value.refusal.message
