import pytest
from pydantic import ValidationError

from llama_serving.config import (
    EngineSettings,
    LiveSettings,
    ModelSource,
    Placement,
    ServingConfig,
    deployment_override,
    pod_environment,
)
from llama_serving.contract.adapters import AdapterRoom
from llama_serving.contract.status import DeploymentIdentity
from llama_serving.llm_config import llm_config_of, placement_bundles


def serving_config(*, kind="Generated", location="tiny", placement=None, **engine):
    settings = {"tensor_parallel_size": 1, "max_model_len": 512, "max_num_seqs": 4, "cpu_kv_cache_mib": 64}
    return ServingConfig(
        model_id="meta-llama/Llama-3.1-70B",
        source=ModelSource(kind=kind, location=location),
        engine=EngineSettings.model_validate(settings | engine),
        placement=placement or Placement(device="CPU"),
        identity=DeploymentIdentity(namespace="team-a", name="chat", revision="chat-1"),
    )


def h100(**engine):
    settings = {"tensor_parallel_size": 8, "pipeline_parallel_size": 2, "gpu_memory_utilization": 0.92}
    placement = Placement(device="GPU", accelerator_type="H100", strategy="PACK", cpus_per_rank=2)
    return serving_config(kind="HuggingFace", location="meta-llama/X", placement=placement, **(settings | engine))


def test_a_streaming_loader_gets_its_bounds_and_others_no_word_of_it():
    bounds = {"concurrency": 16, "memory_limit": 8 << 30, "distributed": True}
    streams = llm_config_of(serving_config(load_format="runai_streamer", stream=bounds))["engine_kwargs"]
    assert (streams["load_format"], streams["model_loader_extra_config"]) == ("runai_streamer", bounds)
    assert "stream" not in streams
    assert not {"stream", "model_loader_extra_config"} & set(llm_config_of(serving_config())["engine_kwargs"])


def test_the_config_survives_the_way_through_json():
    config = h100()

    assert ServingConfig.model_validate_json(config.model_dump_json(exclude_none=True)) == config


def test_a_cpu_engine_must_say_how_large_its_kv_cache_is():
    with pytest.raises(ValidationError, match="cpu_kv_cache_mib"):
        serving_config(cpu_kv_cache_mib=None)


def test_a_gpu_replica_reserves_a_bundle_for_each_rank_with_the_accelerator_named():
    assert placement_bundles(h100()) == [{"CPU": 2, "GPU": 1, "accelerator_type:H100": 0.001}] * 16
    assert llm_config_of(h100())["accelerator_type"] == "H100"


def test_cpu_ranks_on_one_node_ask_for_no_accelerator():
    config = serving_config(tensor_parallel_size=2)

    assert placement_bundles(config) == [{"CPU": 1}] * 2
    assert "LLAMA_SERVING_CPU_RAY_EXECUTOR" not in pod_environment(config)


def test_cpu_ranks_over_nodes_use_stand_in_accelerators_and_the_platform_plugin():
    config = serving_config(tensor_parallel_size=2, placement=Placement(device="CPU", strategy="STRICT_SPREAD"))

    assert placement_bundles(config) == [{"CPU": 1, "GPU": 1}] * 2
    assert pod_environment(config)["LLAMA_SERVING_CPU_RAY_EXECUTOR"] == "1"


def test_arguments_that_are_not_set_are_left_to_vllm():
    arguments = llm_config_of(h100())["engine_kwargs"]

    assert arguments["gpu_memory_utilization"] == 0.92
    assert not {"quantization", "load_format", "kv_cache_memory_bytes", "revision"} & set(arguments)
    assert llm_config_of(serving_config())["engine_kwargs"]["kv_cache_memory_bytes"] == 64 * 1024**2


def test_room_for_adapters_is_asked_of_the_engine_and_on_a_cpu_one_place_more_stays_empty():
    room = AdapterRoom(max_loras=2, max_lora_rank=16, max_cpu_loras=5, folder="/adapters")
    wanted = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 16, "max_cpu_loras": 5}
    on_gpu, on_cpu = (
        llm_config_of(one.model_copy(update={"adapters": room}))["engine_kwargs"] for one in (h100(), serving_config())
    )
    assert {name: on_gpu[name] for name in wanted} == wanted
    assert {name: on_cpu[name] for name in wanted} == wanted | {"max_loras": 6, "max_cpu_loras": 6}
    assert not wanted.keys() & llm_config_of(h100())["engine_kwargs"].keys()
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in pod_environment(h100().model_copy(update={"adapters": room}))


def test_only_a_hub_model_may_reach_the_hub():
    assert "HF_HUB_OFFLINE" not in pod_environment(h100())
    assert pod_environment(serving_config())["HF_HUB_OFFLINE"] == "1"
    assert pod_environment(serving_config(kind="Path", location="/models/x"))["HF_HUB_OFFLINE"] == "1"


def test_the_override_carries_every_live_setting_and_the_intervals_that_the_policy_rests_on():
    live = LiveSettings(
        min_replicas=0, max_replicas=3, target_queue_depth=5, max_ongoing_requests=9, max_queued_requests=100
    )

    override = deployment_override(serving_config(), live)

    assert override["name"] == "LlamaServer:meta-llama--Llama-3_1-70B"
    assert (override["max_ongoing_requests"], override["max_queued_requests"]) == (9, 100)
    scaling = override["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"], scaling["target_ongoing_requests"]) == (0, 3, 5)
    assert scaling["metrics_interval_s"] < scaling["look_back_period_s"] <= 5
    assert "policy_kwargs" not in scaling["policy"]
