"""What vLLM's frontend does without an engine: reads tool calls, makes prompts of conversations, and fetches no images.

Run as a program, because vLLM wants a process of its own: it prints what it found as JSON.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

from fastapi import FastAPI
from ray.llm._internal.serve.core.server import llm_server
from starlette.middleware.gzip import GZipMiddleware
from vllm.config import ModelConfig, VllmConfig
from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.instrumentator import metrics
from vllm.entrypoints.serve.middleware import register
from vllm.multimodal.media.connector import MediaConnector
from vllm.parser import ParserManager
from vllm.renderers import renderer_from_config
from vllm.renderers.hf import safe_apply_chat_template
from vllm.renderers.params import ChatParams
from vllm.tokenizers import get_tokenizer
from vllm.tool_parsers.abstract_tool_parser import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.metrics.stats import SchedulerStats

from llama_serving.contract.media import NOWHERE
from llama_serving.contract.usage import DIALECTS
from llama_serving.desk.middleware import ASKED_NAME
from llama_serving.engine import frontend, later_metrics, tool_parsers
from llama_serving.engine.loop import straight
from llama_serving.engine.loop.plain_parts import PlainParts, is_plain
from llama_serving.engine.loop.short_prompts import in_the_loop
from llama_serving.generated import checkpoint
from support.serving.frontends import engine_models

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "get_time")
]
WEATHER = '{"name": "get_weather", "parameters": {"city": "Lima"}}'
TEXTS = {
    "llama3_json": {
        "a call": WEATHER,
        "a call without arguments": '{"name": "get_time", "parameters": {}}',
        "two calls": WEATHER + '; {"name": "get_time", "parameters": {}}',
        "two calls without a blank": WEATHER + ";" + WEATHER,
        "two calls with nothing between": WEATHER + WEATHER,
        "words before a call": "I look it up.\n" + WEATHER,
        "blanks before a call": "  " + WEATHER,
        "arguments as a text": json.dumps({"name": "get_weather", "parameters": '{"city": "Lima"}'}),
        "an answer in JSON": '{"city": "Lima"}',
        "an answer in JSON with a name": '{"name": "Ada", "age": 36}',
        "a tool that nobody offers": '{"name": "rm", "parameters": {"path": "/"}}',
        "an object that never ends": '{"city": "Li',
        "words": "It is noon.",
    },
    "llama4_pythonic": {
        "a call": '[get_weather(city="Lima")]',
        "a call without arguments": "[get_time()]",
        "two calls": "[get_time(), get_weather(city='Lima')]",
        "a word of Python as a name": "[get_weather(from='a')]",
        "a line break in a text": "[get_weather(city='a\nb')]",
        "a list": "[1, 2]",
        "a link": "[Lima](https://lima.example)",
        "a tool that nobody offers": "[rm(path='/')]",
        "words": "It is noon.",
    },
}
HELLO = [{"role": "user", "content": "Hello"}]


def whole(parser, text):
    request = ChatCompletionRequest(model="m", messages=HELLO, tools=TOOLS, tool_choice="auto")
    _, content, calls = parser.parse(text, request, enable_auto_tools=True)
    return {"text": content or "", "calls": [[call.name, call.arguments] for call in calls or []]}


def streamed(parser, text, size):
    request = ChatCompletionRequest(model="m", messages=HELLO, tools=TOOLS, tool_choice="auto", stream=True)
    content, calls = "", {}
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    for number, part in enumerate([*parts, ""]):
        delta = parser.parse_delta(part, [1], request, prompt_token_ids=[1], finished=number == len(parts))
        if delta is None:
            continue
        assert not ({"tool_calls"} & delta.model_fields_set and not delta.tool_calls), "an empty list of calls"
        content += delta.content or ""
        for call in delta.tool_calls or []:
            one = calls.setdefault(call.index, ["", ""])
            one[0] += (call.function.name if call.function else None) or ""
            one[1] += (call.function.arguments if call.function else None) or ""
    return {"text": content, "calls": [calls[index] for index in sorted(calls)]}


def read_all(tokenizer):
    found = {}
    for name, texts in TEXTS.items():
        parser_class = ParserManager.get_parser(tool_parser_name=name, enable_auto_tools=True, model_name="m")
        request = ChatCompletionRequest(model="m", messages=HELLO, tools=TOOLS)
        for case, text in texts.items():
            ways = {"whole": whole(parser_class(tokenizer, request.tools), text)}
            for size in (1, 5):
                ways[f"streamed by {size}"] = streamed(parser_class(tokenizer, request.tools), text, size)
            found[f"{name}: {case}"] = ways
    return found


def parts_without_tools(tokenizer):
    """The parts of a streamed answer that looks like a call, where the request offers no tool."""
    found = {}
    for name, texts in TEXTS.items():
        parser_class = ParserManager.get_parser(tool_parser_name=name, enable_auto_tools=True, model_name="m")
        parser = parser_class(tokenizer, None)
        request = ChatCompletionRequest(model="m", messages=HELLO, stream=True)
        said = [
            parser.parse_delta(part, [1], request, prompt_token_ids=[1], finished=False) for part in texts["a call"]
        ]
        found[name] = [delta and delta.content for delta in said] == list(texts["a call"])
    return found


def plain_parts(tokenizer):
    """Whether each part of a stream without tools is the same with and without vLLM's parser, the last and an empty one too."""
    found = {}
    for name, texts in TEXTS.items():
        parser_class = ParserManager.get_parser(tool_parser_name=name, enable_auto_tools=True, model_name="m")
        request = ChatCompletionRequest(model="m", messages=HELLO, stream=True)
        parsers = (parser_class(tokenizer, request.tools), PlainParts(DeltaMessage))
        parts = [(text, False) for text in (*texts["a call"], "")] + [("!", True)]
        said = [
            [
                one.parse_delta(
                    delta_text=text, delta_token_ids=[1], request=request, prompt_token_ids=[1], finished=last
                )
                for text, last in parts
            ]
            for one in parsers
        ]
        found[name] = said[0] == said[1] and is_plain(request, parser_class)
    return found


def templates(folder):
    """Whether there is a template: with the checkpoint's, without it, and without it but with a file."""
    with tempfile.TemporaryDirectory() as place:
        base = Path(place) / "base"
        shutil.copytree(folder, base)
        settings = json.loads((base / "tokenizer_config.json").read_text())
        template = settings.pop("chat_template")
        (base / "tokenizer_config.json").write_text(json.dumps(settings))
        return [_has_template(folder, None), _has_template(base, None), _has_template(base, template)]


def _has_template(folder, template):
    config = ModelConfig(model=str(folder), max_model_len=512, enforce_eager=True)
    renderer = renderer_from_config(VllmConfig(model_config=config))
    online = SimpleNamespace(
        renderer=renderer,
        chat_template=template,
        chat_template_content_format="auto",
        default_chat_template_kwargs={},
    )
    return frontend.has_chat_template(SimpleNamespace(online_renderer=online))


def names():
    models = SimpleNamespace(model_name=lambda lora=None: "adapter" if lora else "model")
    frontend.answer_by_the_asked_name(SimpleNamespace(openai_serving_models=models))
    before = models.model_name()
    ASKED_NAME.set("alias")
    return [before, models.model_name(), models.model_name("a lora")]


def layers():
    """The layers of vLLM's and Ray's application, and those that are left of them."""
    app = FastAPI()
    told = {"allowed_origins": ["*"], "allowed_methods": ["*"], "allowed_headers": ["*"]}
    told |= {"allow_credentials": False, "api_key": None, "enable_request_id_headers": False, "middleware": []}
    register.init_entrypoints_middleware(SimpleNamespace(**told), app, ("generate", "realtime"))
    metrics.attach_router(app)
    llm_server._add_middleware_to_built_app(app, llm_server._ResolveLoRAMiddleware, server=None)
    app.add_middleware(GZipMiddleware)
    before = [layer.cls.__name__ for layer in app.user_middleware]
    frontend.without_idle_layers(app)
    return [before, [layer.cls.__name__ for layer in app.user_middleware]]


def routes():
    """Paths that vLLM's application answers by POST, and those that are left of all."""
    app = build_app(make_arg_parser(FlexibleArgumentParser()).parse_args(["--disable-fastapi-docs"]), ("generate",))
    before = sorted({route.path for route in app.router.routes if "POST" in (getattr(route, "methods", None) or ())})
    frontend.only_with(DIALECTS, app)
    return [before, sorted(route.path for route in app.router.routes)]


def short_ways(folder):
    """Paths that go straight to vLLM's handlers, prompts made in the loop and in threads, and whether a span can be left out."""
    app = build_app(make_arg_parser(FlexibleArgumentParser()).parse_args(["--disable-fastapi-docs"]), ("generate",))
    frontend.only_with(DIALECTS, app)
    handlers = [straight.handler_of(route) for route in app.router.routes]
    unwatched = all(one is not None and "raw_request" in one.call.__code__.co_varnames for one in handlers)
    config = ModelConfig(model=str(folder), max_model_len=512, enforce_eager=True)
    renderer = renderer_from_config(VllmConfig(model_config=config))
    chat = ChatParams(chat_template_content_format="auto", chat_template_kwargs={"tokenize": False})
    submitted, prompts = [], []
    submit = renderer._executor.submit
    renderer._executor.submit = lambda *what: submitted.append(what) or submit(*what)
    for step in (lambda: None, lambda: in_the_loop(renderer, safe_apply_chat_template)):
        step()
        submitted.clear()
        _, (prompt,) = asyncio.run(renderer.render_chat_async([HELLO], chat))
        prompts.append([len(submitted), prompt["prompt_token_ids"]])
    return {
        "straight": sorted(straight.go_straight(app, joins=True)),
        "unwatched": unwatched,
        "prompts": prompts,
        "spans": callable(getattr(OutputProcessor, "do_tracing", None)),
    }


def unknown_statistics():
    """Names that `later_metrics` reads and vLLM does not have."""
    has = {one.name for one in fields(SchedulerStats)}
    return sorted({"prefix_cache_stats", *later_metrics._OWN} - has)


def fetching():
    said = {}
    for address in ("http://127.0.0.1:9/a.png", "https://images.example/a.png", "file:///etc/hostname"):
        try:
            MediaConnector(allowed_media_domains=[NOWHERE]).fetch_image(address)
            said[address] = "fetched"
        except (ValueError, RuntimeError) as error:
            said[address] = str(error)
    return said


def main():
    folder = checkpoint.ensure(checkpoint.default_folder())
    tokenizer = get_tokenizer(str(folder))
    theirs = read_all(tokenizer)
    tool_parsers.register()
    found = {
        "vllm": theirs,
        "ours": read_all(tokenizer),
        "without tools": parts_without_tools(tokenizer),
        "registered": [ToolParserManager.get_tool_parser(name).__name__ for name in TEXTS],
        "templates": templates(folder),
        "names": names(),
        "layers": layers(),
        "routes": routes(),
        "plain parts": plain_parts(tokenizer),
        "short ways": short_ways(folder),
        "unknown statistics": unknown_statistics(),
        "fetching": fetching(),
        "texts": engine_models.texts(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
