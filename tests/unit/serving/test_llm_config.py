"""What of the config reaches vLLM's arguments, beyond the shape of the engine."""

from llama_serving.contract.media import NOWHERE
from llama_serving.llm_config import llm_config_of
from support.serving.configs import tiny_config


def arguments(**engine):
    return llm_config_of(tiny_config(**engine))["engine_kwargs"]


def test_without_hosts_nothing_is_fetched():
    """Of an empty list vLLM makes the whole world, on both paths."""
    assert arguments()["allowed_media_domains"] == [NOWHERE]
    assert arguments(allowed_media_domains=("a.example",))["allowed_media_domains"] == ["a.example"]


def test_the_template_is_the_checkpoints_unless_one_is_named():
    assert "chat_template" not in arguments()
    assert arguments(chat_template="/etc/t.jinja")["chat_template"] == "/etc/t.jinja"
