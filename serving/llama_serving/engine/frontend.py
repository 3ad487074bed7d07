"""What the direct path asks of vLLM's HTTP application, and changes in it. Called by `direct` once the engine has started."""

from collections.abc import Collection
from typing import Any, Final

from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.renderers.chat_utils import ChatTemplateResolutionError
from vllm.renderers.hf import safe_apply_chat_template
from vllm.renderers.params import ChatParams

from llama_serving.desk.middleware import ASKED_NAME
from llama_serving.engine.loop.first_come import first_come
from llama_serving.engine.loop.plain_parts import without_reading
from llama_serving.engine.loop.short_prompts import in_the_loop
from llama_serving.engine.loop.straight import go_straight
from llama_serving.engine.loop.unsampled import without_spans

_IDLE: Final = frozenset(
    {
        # Counts for vLLM's page of metrics, which the door lets nobody ask for; it looks through all routes for each request.
        "PrometheusInstrumentatorMiddleware",
        "WebSocketMetricsMiddleware",
        # Answers to other origins; the door hands on no `Origin`.
        "CORSMiddleware",
        # Holds requests while experts are moved between ranks, which a route starts that the door does not have.
        "ScalingMiddleware",
        # Ray's choice of an adapter by a header that the door hands on to nobody.
        "_ResolveLoRAMiddleware",
    }
)
"""Layers of vLLM's application, and of Ray's, that have nothing to do behind the door."""


def without_idle_layers(app: Any) -> None:
    """Take the layers out that only cost time; those that have a part in the answer stay.

    Args:
        app: The application, whose layers are not put together yet.
    """
    app.user_middleware = [layer for layer in app.user_middleware if layer.cls.__name__ not in _IDLE]


def only_with(paths: Collection[str], app: Any) -> None:
    """Take all other routes out: vLLM's application and Serve's name of the route each look through all of them for a request.

    A route that is made in another way, with routes of its own below it, stays.

    Args:
        paths: Of the routes that stay.
        app: The application.
    """
    routes = app.router.routes
    routes[:] = [route for route in routes if getattr(route, "original_router", None) or route.path in paths]


def answer_by_the_asked_name(state: Any) -> None:
    """Let answers name the model as the request did; by itself vLLM names it by the first of its names.

    Args:
        state: State of the application.
    """
    models = state.openai_serving_models
    own_name = models.model_name

    def model_name(lora_request: Any = None) -> str:
        asked = ASKED_NAME.get()
        name: str = own_name(lora_request) if lora_request is not None or asked is None else asked
        return name

    models.model_name = model_name


def spare_the_loop(app: Any, *, reads_parts: bool) -> None:
    """Take ways out that cost a short request more than its work, see `loop`.

    Args:
        app: The application, with the routes that it keeps.
        reads_parts: Whether a layer reads each part of a stream by itself, as the guard does.
    """
    in_the_loop(app.state.online_renderer.renderer, safe_apply_chat_template)
    without_spans(getattr(app.state.engine_client, "output_processor", None))
    first_come(app.state.engine_client)
    go_straight(app, joins=not reads_parts)
    without_reading(app.state.openai_serving_chat, DeltaMessage)


def has_chat_template(state: Any) -> bool:
    """Whether a conversation can be made a prompt: by the checkpoint's template, or the one that the config names.

    Args:
        state: State of the application.
    """
    online = state.online_renderer
    template = ChatParams(
        chat_template=online.chat_template,
        chat_template_content_format=online.chat_template_content_format,
        chat_template_kwargs=online.default_chat_template_kwargs,
    )
    try:
        online.renderer.render_chat([[{"role": "user", "content": "Hello"}]], template)
    except ChatTemplateResolutionError:
        return False
    except Exception:  # noqa: BLE001 - of others: a template that fails on this conversation is there, and answers for itself
        return True
    return True
