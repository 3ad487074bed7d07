"""Makes prompts of short requests in the event loop itself, and leaves long ones to vLLM's threads. `frontend` puts it in.

vLLM hands the template and the tokens of each request to a thread. For a short conversation the work takes a tenth of a
millisecond, and each of the two ways there and back takes longer: the loop has to let go of the interpreter, a thread has to wake,
and the answer comes back behind all that has begun meanwhile. Of sixteen requests that come together each waits for all of that.

No vLLM is imported here. What is read of its renderer: `_apply_chat_template_async`, `_render_with_timeout`, `_tokenize_prompt_async`
and `_tokenize_prompt`.
"""

import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Final

MOST_LETTERS: Final = 2000
"""Of a prompt that is made in the loop. It takes less than a millisecond, of which other requests wait."""

_PART: Final = 20
"""Letters for which a message, a part of one or a field counts by itself: a template takes some time for each."""

_NAMES: Final = ("_apply_chat_template_async", "_render_with_timeout", "_tokenize_prompt_async", "_tokenize_prompt")
_LOGGER = logging.getLogger("ray.serve")


def is_short(conversation: Any, settings: Mapping[str, Any]) -> bool:
    """Whether the template takes no time that others would notice: little text in few parts, and little beside it.

    Args:
        conversation: Messages as the template gets them.
        settings: What else the template gets; the template itself is the deployment's, of any length.
    """
    beside = [value for name, value in settings.items() if name != "chat_template"]
    return _left_of(_left_of(MOST_LETTERS, conversation), beside) >= 0


def in_the_loop(renderer: Any, apply_template: Callable[..., Any]) -> bool:
    """Let `renderer` do short work at once; return whether it could be changed.

    Args:
        renderer: vLLM's renderer of the model; its attributes are replaced.
        apply_template: vLLM's function that puts the template on a conversation, which its renderer calls in a thread.
    """
    if not all(callable(getattr(renderer, name, None)) for name in _NAMES):
        _LOGGER.warning("vLLM's renderer is another one than is known here: short prompts are made in threads too")
        return False
    template_in_thread, with_timeout = renderer._apply_chat_template_async, renderer._render_with_timeout  # noqa: SLF001
    tokens_in_thread, tokens = renderer._tokenize_prompt_async, renderer._tokenize_prompt  # noqa: SLF001

    def template(model: Any, tokenizer: Any, conversation: Any, **settings: Any) -> Awaitable[Any]:
        if is_short(conversation, settings):
            return _Done(lambda: apply_template(model, tokenizer, conversation, **settings))
        found: Awaitable[Any] = template_in_thread(model, tokenizer, conversation, **settings)
        return found

    async def rendered(work: Awaitable[Any]) -> Any:
        # A time limit belongs to a thread that may hang; here the work is done before a clock would start.
        return await (work if isinstance(work, _Done) else with_timeout(work))

    def tokenized(prompt: Mapping[str, Any], params: Any) -> Awaitable[Any]:
        if len(prompt["prompt"]) <= MOST_LETTERS:
            return _Done(lambda: tokens(prompt, params))
        found: Awaitable[Any] = tokens_in_thread(prompt, params)
        return found

    renderer._apply_chat_template_async = template  # noqa: SLF001
    renderer._render_with_timeout = rendered  # noqa: SLF001
    renderer._tokenize_prompt_async = tokenized  # noqa: SLF001
    return True


class _Done:
    """An awaitable that does its work when it is awaited, and waits for nothing."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self._work()


def _left_of(letters: int, value: Any) -> int:
    """What is left of `letters` after `value`; less than 0 if it is more. No more of a long value is looked at than that takes."""
    if isinstance(value, str):
        return letters - len(value)
    if isinstance(value, Mapping):
        value = value.values()
    elif value is None or isinstance(value, bool | int | float):
        return letters
    elif not isinstance(value, list | tuple):
        return -1
    for part in value:
        letters = _left_of(letters - _PART, part)
        if letters < 0:
            break
    return letters
