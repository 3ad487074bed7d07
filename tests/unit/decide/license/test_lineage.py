"""Lineage: the union over every ancestor, whatever a tag, a name or another place says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec
from llama_operator.api.v1alpha1.llamamodel import DerivationKind
from llama_operator.catalog import lineage as facts_of_names
from llama_operator.catalog.additions import Additions, Unusable
from llama_operator.catalog.models import Model
from llama_operator.decide.license import LicenseInput, judge, resolve
from llama_operator.decide.license.facts import same_party
from llama_operator.decide.license.rules.naming import begins_with
from llama_operator.decide.license.signals import called_a_llama, families_in, word_in

CATALOG = catalog.load()
KINDS = [str(kind) for kind in DerivationKind]
TEXT_MODELS = [model.id for model in CATALOG.models if not model.generated]


def model_of(name, *ancestors, families=(), **spec):
    return parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaModel",
            "metadata": {"name": name},
            "spec": {
                "source": {"objectStore": {"uri": f"s3://bucket/{name}"}},
                "digest": "0" * 64,
                "lineage": {"derivedFrom": [{"model": model, "kind": kind} for model, kind in ancestors]},
                "licenseFamilies": list(families),
            }
            | spec,
        }
    )


ancestors = st.lists(st.tuples(st.sampled_from(TEXT_MODELS), st.sampled_from(KINDS)), min_size=1, max_size=4)


@given(ancestors=ancestors, tags=st.sets(st.sampled_from(["mit", "apache-2.0", "none"])))
def test_no_tag_and_no_kind_takes_a_duty_of_an_ancestor_away(ancestors, tags):
    found = resolve("x", CATALOG, [model_of("x", *ancestors, families=sorted(tags))])
    needed = {family.id for name, _ in ancestors for family in resolve(name, CATALOG).families}
    assert needed <= {family.id for family in found.families}
    strictest = max(resolve(name, CATALOG).families[0].strictness for name, _ in ancestors)
    assert max(family.strictness for family in found.families) >= strictest


@given(ancestors=ancestors, more=st.tuples(st.sampled_from(TEXT_MODELS), st.sampled_from(KINDS)))
def test_another_ancestor_never_takes_anything_away(ancestors, more):
    one = resolve("x", CATALOG, [model_of("x", *ancestors)])
    two = resolve("x", CATALOG, [model_of("x", *ancestors, more)])
    assert set(one.families) <= set(two.families)
    assert one.multimodal <= two.multimodal


@given(names=st.lists(st.sampled_from(TEXT_MODELS), min_size=1, max_size=1), depth=st.integers(1, 8))
def test_duties_reach_every_generation(names, depth):
    line = [model_of("g0", (names[0], "Finetune"))]
    line += [model_of(f"g{n}", (f"g{n - 1}", "Finetune"), families=["mit"]) for n in range(1, depth)]
    found = resolve(f"g{depth - 1}", CATALOG, line)
    assert set(resolve(names[0], CATALOG).families) <= set(found.families)
    assert names[0] in found.ancestors


@given(links=st.lists(st.integers(0, 4), min_size=5, max_size=5))
def test_any_graph_of_models_is_resolved_or_refused(links):
    """Circles included: whoever reaches no root is unresolved."""
    models = [
        model_of(f"m{n}", (f"m{link}" if link != n else "llama-2-7b", "Finetune")) for n, link in enumerate(links)
    ]
    for number in range(len(links)):
        seen, at = set(), number
        while at not in seen and links[at] != at:
            seen.add(at)
            at = links[at]
        rooted = links[at] == at
        assert bool(resolve(f"m{number}", CATALOG, models).unresolved) is not rooted


@pytest.mark.parametrize(
    "variant", [v for m in CATALOG.models if not m.generated for v in m.variants if v.gated is False]
)
def test_a_repository_without_a_gate_keeps_its_license(variant):
    model = next(m for m in CATALOG.models if variant in m.variants)
    assert resolve(model.id, CATALOG, (), variant).needing_acceptance


def test_a_model_of_the_catalog_cannot_be_replaced():
    impostor = model_of("llama-3.1-8b", families=["mit"])
    assert [f.id for f in resolve("llama-3.1-8b", CATALOG, [impostor]).families] == ["llama-3.1"]


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", {"llama-3.1"}),
        ("Meta-Llama-3-8B", {"llama-3"}),
        ("llama3.2-3b", {"llama-3.2"}),
        ("Llama-3_3-70B", {"llama-3.3"}),
        ("llama-3-3b", {"llama-3"}),
        ("llama-3b", set()),
        ("TinyLlama-1.1B", set()),
        ("Sheared-LLaMA-2.7B", set()),
        ("Llama-33B", {"llama-1"}),
        ("Llama-2-7b-chat", {"llama-2"}),
        ("Llama-4-Scout", {"llama-4"}),
        ("LlamaGuard-7b", {"llama-2"}),
        ("Meta-Llama-Guard-2-8B", {"llama-2", "llama-3"}),
        ("Llama-Guard-3-8B", {"llama-3.1", "llama-3.2"}),
        ("Llama-Guard-3-1B", {"llama-3.2"}),
        ("CodeLlama-34b", {"llama-2"}),
        ("meditron-70b", {"llama-2"}),
        ("OpenMeditron/Meditron3-8B", {"llama-3.1"}),
        ("vicuna-7b-v1.5", {"llama-2"}),
        ("vicuna-13b-v1.1", {"llama-1"}),
        ("merge-of-Llama-2-and-Llama-3.1", {"llama-2", "llama-3.1"}),
        ("DeepSeek-R1-Distill-Llama-8B", set()),
    ],
)
def test_names_tell_their_version(name, families):
    found, any_llama = families_in(name, facts_of_names.load())
    assert any_llama
    assert set(found) == families


@pytest.mark.parametrize(
    ("name", "declared", "families"),
    [
        ("llama3", {"llama-3.3"}, set()),
        ("llama3-support", {"llama-3.1"}, set()),
        ("llama-3-support", {"llama-3.2"}, set()),
        ("llama3", {"llama-2"}, {"llama-3"}),
        ("llama3", {"llama-4", "mit"}, {"llama-3"}),
        ("Meta-Llama-3-8B", {"llama-3.1"}, {"llama-3"}),
        ("llama3.1", {"llama-3.3"}, {"llama-3.1"}),
        ("Llama-3.1-70B-Meditron", {"llama-3.1"}, {"llama-3.1"}),
    ],
)
def test_llama3_means_any_of_its_generation_that_is_declared(name, declared, families):
    assert set(families_in(name, facts_of_names.load(), declared)[0]) == families


WORDS = ("heretic", "uncensored", "abliterated", "unfiltered")


@pytest.mark.parametrize(
    "name",
    [
        "Llama-heretic",
        "Llama-HERETIC-8B",
        "Llama3Heretic",
        "LLAMAUNCENSORED",
        "Llama-abliteratedV3",
        "Llama-abliteratedv3",
        "Llama-unc3nsored",
        "u.n.c.e.n.s.o.r.e.d",
        "un\u200bcensored",
        "\u0430bliterated",
        "wizarduncensored",
        "uncensoredchat",
    ],
)
def test_a_word_is_seen_however_it_is_written(name):
    assert word_in([name], WORDS)


@pytest.mark.parametrize(
    "name",
    [
        "Llama-heretical-texts",
        "Hereticism",
        "heretics",
        "there-ticket",
        "sun-filtered-light",
        "sunfiltered",
        "uncensor",
    ],
)
def test_a_part_of_another_word_is_no_word(name):
    assert word_in([name], WORDS) is None


@pytest.mark.parametrize(
    "name",
    [
        "acme inc",
        "ACME, Inc.",
        "Acme\u3000Inc.",
        "\uff21\uff43\uff4d\uff45 Inc.",
        "Ac\u200bme Inc.",
        "\u0410cm\u0435 In\u0441.",
        "Acm\u03b5-Inc",
        "A\u00adcme I\u2060nc",
        "\U0001d400cme Inc",
    ],
)
def test_an_entity_is_the_same_in_other_letters(name):
    assert same_party(name, "Acme Inc.")


@pytest.mark.parametrize("name", ["Acme GmbH", "Acme Incubator", "Acne Inc.", "Acme 2 Inc.", "***", "Acm\u00e9 Inc."])
def test_another_name_is_another_entity(name):
    assert not same_party(name, "Acme Inc.")


@given(name=st.text(min_size=1, max_size=30))
def test_a_name_is_always_the_same_entity_as_itself(name):
    assert same_party(name, name)


@pytest.mark.parametrize(
    "name",
    [
        "Qwen2.5-7B",
        "mistral-7b",
        "william-13b",
        "gemma-2-9b",
        "panorama-3",
        "alabama-3b",
        "Apertus-8B-MeditronFO",
        "mail-amazon",
        "vanilla-mamba",
        "William-Adams",
        "brasil-american",
        "mistral-7b-llamafile",
        "qwen-ollama-1.5b",
        "llama.cpp-mistral",
        "mistral-LLaMA-Factory",
        "resumen-llamadas",
    ],
)
def test_other_names_tell_nothing(name):
    assert families_in(name, facts_of_names.load()) == ((), False)


@pytest.mark.parametrize(
    "name",
    [
        "LLAMA-chat",
        "l1ama",
        "LIama",
        "ll4ma",
        "Ll@ma",
        "L\u04cfama",
        "ｌｌａｍａ",
        "ll\u0430ma",
        "L-L-a-M-A",
        "lla_ma-3",
        "ll-ama",
        "ollama-3.1",
        "llamadas-llama",
    ],
)
def test_a_look_alike_is_read_as_the_word(name):
    assert called_a_llama(name)


@pytest.mark.parametrize(
    ("name", "prefix", "fits"),
    [
        ("Llama-3-Acme", "Llama 3", True),
        ("Llama 3 Acme", "Llama 3", True),
        ("llama_3_acme", "Llama 3", True),
        ("Llama-3.1-Acme", "Llama 3", True),
        ("Llama-30B", "Llama 3", False),
        ("Llama3-Acme", "Llama 3", True),
        ("Llama-Acme", "Llama 3", False),
        ("Meta-Llama-3-8B", "Llama 3", False),
        ("Llama-Acme", "Llama", True),
        ("Llama3.1-Acme", "Llama", True),
        ("Acme-Llama", "Llama", False),
        ("L1ama-Acme", "Llama", False),
        ("\u217clama-Acme", "Llama", False),
        ("", "Llama", False),
    ],
)
def test_the_name_prefix_is_taken_at_its_word(name, prefix, fits):
    assert begins_with(name, prefix) is fits


def test_evidence_says_who_attested_that_a_model_comes_from_no_llama():
    attested = {"attestedBy": "Jo Doe", "attestedOn": "2026-02-01", "evidence": "paper"}
    sizes = {"numHiddenLayers": 22, "hiddenSize": 2048, "intermediateSize": 5632, "numAttentionHeads": 32}
    shape = sizes | {"vocabSize": 32000}
    base = model_of("tiny", families=["apache-2.0"], independence=attested, architectureFingerprint=shape)
    tuned = model_of("tiny-chat", ("tiny", "Finetune"), servedName="tinyllama-chat")
    for name in ("tiny", "tiny-chat"):
        facts = resolve(name, CATALOG, [base, tuned])
        verdict = judge(LicenseInput(model=facts, license=LicenseSpec(), namespace="team-a", acceptances=()))
        assert verdict.allowed, verdict.message
        (attestation,) = verdict.evidence.attestations
        assert (attestation.rule, attestation.by, attestation.on) == ("P2", "Jo Doe", "2026-02-01")


def test_models_that_were_merged_over_and_over_are_followed_once():
    """2 to the power of 60 paths: a walk over all of them would never end."""
    line = [model_of("g0", ("llama-3.1-8b", "Merge"), ("llama-3-8b", "Merge"))]
    line += [model_of(f"g{n}", (f"g{n - 1}", "Merge"), (f"g{n - 1}", "Adapter")) for n in range(1, 60)]
    assert [family.id for family in resolve("g59", CATALOG, line).families] == ["llama-3.1", "llama-3"]
    assert isinstance(Additions(CATALOG, line).added("g59"), Model)
    round_about = [model_of(f"c{n}", (f"c{(n + 1) % 12}", "Merge"), (f"c{(n + 5) % 12}", "Merge")) for n in range(12)]
    assert resolve("c0", CATALOG, round_about).unresolved
    assert isinstance(Additions(CATALOG, round_about).added("c0"), Unusable)


SIZES = {"numHiddenLayers": 130, "hiddenSize": 17_000, "intermediateSize": 60_000, "numAttentionHeads": 140}


@given(
    ancestors=ancestors,
    tags=st.lists(st.text(min_size=1, max_size=30), max_size=4),
    families=st.sets(st.sampled_from(["mit", "apache-2.0", "none", "nvidia-open-model"])),
    # With less width than heads the schema refuses it.
    shape=st.fixed_dictionaries({}, optional={name: st.integers(1, most) for name, most in SIZES.items()}).filter(
        lambda shape: shape.get("hiddenSize", 140) >= shape.get("numAttentionHeads", 1)
    ),
    served=st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9 ._/-]{0,30}[A-Za-z0-9])?", fullmatch=True),
)
def test_whatever_is_written_about_a_derivative_it_needs_an_acceptance(ancestors, tags, families, shape, served):
    model = model_of(
        "x", *ancestors, families=sorted(families), tags=tags, architectureFingerprint=shape, servedName=served
    )
    asked = LicenseInput(
        model=resolve("x", CATALOG, [model]), license=LicenseSpec(), namespace="team-a", acceptances=()
    )
    verdict = judge(asked)
    assert not verdict.allowed
    assert verdict.denials[0].unblock
