"""What engines said when they failed, as Serve told it: each has its cause, in the engine's words, with the hint of its kind."""

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.diagnosis import hints
from llama_operator.decide.diagnosis.causes import causes
from support import recordings
from support.deployments import observed_of

TABLE = {
    "gpu-memory": ("gpu-memory", "CUDA out of memory. Tried to allocate"),
    "gpu-memory-taken": ("gpu-memory-taken", "is less than desired GPU memory utilization"),
    "kv-cache": ("kv-cache", "KV cache is needed, which is larger than the available KV cache memory"),
    "kv-cache-none": ("kv-cache", "No available memory for the cache blocks"),
    "nccl": ("nccl", "NCCL error: unhandled cuda error"),
    "driver-missing": ("driver", "Found no NVIDIA driver on your system"),
    "driver-too-old": ("driver", "The NVIDIA driver on your system is too old"),
    "fabric-not-ready": ("driver", "system not yet initialized"),
    "gpu-broken": ("gpu-broken", "uncorrectable ECC error encountered"),
    "gpu-too-old": ("gpu-too-old", "no kernel image is available for execution on the device"),
    "port-taken": ("port-taken", "address already in use"),
    "weights-header-cut": ("broken-file", "Error while deserializing header: header too small"),
    "disk-full": ("disk-full", "OSError: [Errno 28] No space left on device"),
    "config-missing": ("file-missing", "ensure the presence of a 'config.json'"),
    "architecture-unknown": (
        "architecture-unknown",
        "Model architectures ['AcmeForCausalLM'] are not supported for now",
    ),
    "hub-401": ("hub-unauthorized", "Client error '401 Unauthorized' for url"),
    "hub-403-gated": ("hub-forbidden", "you are not in the authorized list"),
    "hub-404": ("hub-not-found", "is not a valid model identifier"),
    "engine-dies": ("health-check", "A replica's health check failed"),
    "weights-missing": ("file-missing", "Cannot find any model weights with `/models/acme`"),
    "folder-missing": ("file-missing", "Repo id must be in the form"),
    "context-too-long": ("context-too-long", "4096"),
    "hub-403": ("hub-unreachable", "We couldn't connect to"),
    "model-type-unknown": ("architecture-unknown", "has model type `acme`"),
    "weights-no-header": ("broken-file", "Error while deserializing header"),
    "hub-unreachable": ("hub-unreachable", "We couldn't connect to"),
    "weights-cut": ("broken-file", "incomplete metadata, file not fully covered"),
    "hub-429": ("hub-unreachable", "We couldn't connect to"),
    "module-missing": ("module-missing", "No module named 'acme_serving'"),
}


def test_every_recording_is_looked_at_and_says_where_it_comes_from():
    assert set(recordings.ENGINES) == set(TABLE)
    assert all(recordings.engine(name)["provenance"] for name in recordings.ENGINES)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("PlaceUnavailableError: s3://models/chat has no config.json, or does not answer", "store-silent"),
        ("azure.core.exceptions.ClientAuthenticationError: DefaultAzureCredential failed", "store-silent"),
        ("/models/chat has no config.json", "file-missing"),
    ],
)
def test_a_store_that_gives_nothing_is_told_from_a_file_that_is_not_there(words, kind):
    assert hints.hint(Reason.ENGINE_FAILED, words).kind == kind


@pytest.mark.parametrize("name", TABLE)
def test_an_engine_that_fails_is_told_in_its_own_words_with_the_hint_of_its_kind(name):
    kind, words = TABLE[name]
    service = recordings.engine_service(name)
    (cause,) = causes(observed_of(ray_services=(service,)), service.name)
    assert (cause.reason, cause.condition) == (Reason.ENGINE_FAILED, ConditionType.MODEL_LOADED)
    assert words in cause.message
    assert hints.hint(cause.reason, cause.message).kind == kind
    assert cause.hint
    assert len(cause.message) < 1500, "no pages of frames"
    assert "OpenAiIngress" not in cause.message, "it only waits for the engine"
