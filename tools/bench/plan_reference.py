"""The reference half of `make bench-plan`: what AIConfigurator recommends for the grid, as JSON.

Its sweep depends on model, card and goal, not on the load, so it runs once for each of these and the loads are divided
by the rates it predicts. Runs in an environment of its own: `python -m bench.plan_reference OUTPUT`.
"""

import json
import logging
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.plan_grid import SYSTEMS, Goal, Model, sweeps
from llama_operator import catalog

_SATURATING = 1e6
"""A load at which the configuration with the highest rate of each sharding is the one that needs the fewest GPUs."""


def configuration(model: Model, folder: Path) -> str:
    """Name of the model for AIConfigurator: bundled, or a folder with its shape from the catalog."""
    if model.bundled is not None:
        return model.bundled
    shape = catalog.load().model(model.name).architecture
    config = {
        "architectures": [shape.class_name],
        "model_type": "llama",
        "torch_dtype": shape.dtype,
        "num_hidden_layers": shape.num_hidden_layers,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.max_position_embeddings,
        "tie_word_embeddings": shape.tie_word_embeddings,
    }
    made = folder / f"{model.name}-{model.precision}"
    made.mkdir(exist_ok=True)
    (made / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if model.precision == "FP8":
        quantized = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}
        (made / "hf_quant_config.json").write_text(
            json.dumps({"producer": {"name": "modelopt"}, "quantization": quantized}), encoding="utf-8"
        )
    return str(made)


def recommend(model: Model, system: str, goal: Goal, folder: Path) -> dict[str, Any]:
    """Every sharding that keeps the goal, with the rate that AIConfigurator predicts for one replica of it."""
    from aiconfigurator.cli.api import cli_recommend  # noqa: PLC0415  # only in the reference's environment

    try:
        found = cli_recommend(
            configuration(model, folder),
            system,
            target_request_rate=_SATURATING,
            backend="vllm",
            isl=goal.prompt_tokens,
            osl=goal.output_tokens,
            ttft=goal.time_to_first_token_ms,
            tpot=goal.time_per_output_token_ms,
            strict_sla=True,
            top_n=100,
        )
    except Exception as error:  # noqa: BLE001  # whatever it says is part of the report
        return {"error": f"{type(error).__name__}: {error}", "configurations": []}
    rows = [
        {
            "mode": mode,
            "sharding": row.get("parallel") or f"prefill {row['(p)parallel']}, decode {row['(d)parallel']}",
            "gpus": int(row["num_total_gpus"]),
            "requests_per_second": float(row["request_rate"]),
            "concurrency": int(row["concurrency"]),
            "ttft_ms": float(row["ttft"]),
            "tpot_ms": float(row["tpot"]),
        }
        for mode, table in found.best_configs.items()
        for row in table.to_dict("records")
    ]
    return {"error": None, "configurations": rows}


def _answered(output: Path) -> list[dict[str, Any]]:
    """Answers of an earlier run that was interrupted; none of another version."""
    if not output.exists():
        return []
    content = json.loads(output.read_text(encoding="utf-8"))
    return list(content["answers"]) if content["aiconfigurator"] == version("aiconfigurator") else []


def main() -> int:
    """Sweep the grid and write the answers."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    output = Path(sys.argv[1])
    answers = _answered(output)
    known = {(a["model"], a["precision"], a["accelerator"], a["goal"]) for a in answers}
    with tempfile.TemporaryDirectory() as folder:
        for model, accelerator, goal in sweeps():
            if (model.name, model.precision, accelerator, goal.name) in known:
                continue
            began = time.perf_counter()
            answer = recommend(model, SYSTEMS[accelerator], goal, Path(folder))
            answers.append(
                {"model": model.name, "precision": model.precision, "accelerator": accelerator, "goal": goal.name}
                | answer
            )
            said = answer["error"] or f"{len(answer['configurations'])} configurations"
            print(
                f"{time.perf_counter() - began:5.1f} s  {model.label} on {accelerator}, {goal.name}: {said}", flush=True
            )
            content = {"aiconfigurator": version("aiconfigurator"), "answers": answers}
            output.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
