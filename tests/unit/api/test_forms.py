"""What a text has to look like is told in words, also where it is too short or too long besides."""

import re

import pytest

from llama_operator.api.forms import WORDS
from llama_operator.api.manifest import KINDS, parse
from llama_operator.errors import InvalidManifestError


def patterns(schema):
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for name, below in schema.items():
            # What only we write is told to nobody.
            if name != "status":
                yield from patterns(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from patterns(below)


def of_specs(model):
    schema = model.model_json_schema(by_alias=True)
    seen, ahead = set(), [schema["properties"]["spec"]]
    while ahead:
        node = ahead.pop()
        yield from patterns(node)
        for reference in re.findall(r"'#/\$defs/(\w+)'", str(node)):
            if reference not in seen:
                seen.add(reference)
                ahead.append(schema["$defs"][reference])


def test_every_pattern_of_our_definitions_has_words_and_no_other():
    assert {pattern for model in KINDS.values() for pattern in of_specs(model)} == set(WORDS)


def told(spec, kind="LlamaDeployment"):
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": kind, "metadata": {"name": "chat"}, "spec": spec}
    with pytest.raises(InvalidManifestError) as caught:
        parse(obj)
    return {problem.path: str(problem) for problem in caught.value.problems}


MODEL = {"model": {"name": "llama-3.1-8b"}}
SOURCE = {"source": {"huggingFace": {"repository": "acme/chat", "revision": "main"}}}


@pytest.mark.parametrize(
    ("spec", "kind", "path", "words"),
    [
        (MODEL | {"license": {"attributionURL": "ftp://x"}}, "LlamaDeployment", "spec.license.attributionURL", "https:// or http://"),
        (MODEL | {"license": {"attributionURL": "ftp://" + "x" * 2048}}, "LlamaDeployment", "spec.license.attributionURL", "https://"),
        (MODEL | {"license": {"attributionURL": "ftp://example.com"}}, "LlamaDeployment", "spec.license.attributionURL", "https://"),
        (MODEL | {"license": {"trainedModels": ["ok", "-" * 300]}}, "LlamaDeployment", "spec.license.trainedModels[1]", "both ends"),
        (MODEL | {"weights": {"tokenSecret": {"name": "A" * 254}}}, "LlamaDeployment", "spec.weights.tokenSecret.name", "lower case"),
        (SOURCE, "LlamaModel", "spec.source.huggingFace.revision", "40 hexadecimal digits"),
        ({"reviewDueOn": "soon"}, "LicensePolicy", "spec.reviewDueOn", "unknown field"),
    ],
)  # fmt: skip
def test_the_form_comes_before_the_length(spec, kind, path, words):
    text = told(spec, kind)[path]
    assert words in text
    assert "characters" not in text


@pytest.mark.parametrize("address", ["https://", "http://"])
def test_an_address_without_a_host_is_told_the_same(address):
    assert (
        "begins with https://" in told(MODEL | {"license": {"attributionURL": address}})["spec.license.attributionURL"]
    )


def test_a_text_of_the_right_form_is_told_its_length():
    assert "at most 2,048 characters" in str(told(MODEL | {"license": {"attributionURL": "https://" + "x" * 2048}}))
