"""The Job that asks the Hub for a sample of a gated model, held against a committed golden file."""

from pathlib import Path

from llama_operator.cli.shared import files, yaml_text
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[1] / "manifests" / "samples" / "llama-3.1-8b-l4.yaml"
GOLDEN = HERE / "access_check.output.yaml"


def test_before_a_gated_sample_runs_there_is_this_job_and_nothing_else(known, request):
    deployment = files.read([str(SAMPLE)]).deployment
    observed = Observed(deployment, acceptances=None, access_checks=())
    built = objects.build(observed, decide(observed, known), Settings())
    assert (len(built.apply), built.bounds, built.delete) == (1, (), ())
    text = yaml_text.dump(list(built.apply))
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "if this change is wanted: make golden, and read the diff"
