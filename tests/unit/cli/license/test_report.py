"""`kubectl llama license report`: what a lawyer asks, for programs, spreadsheets and paper."""

import asyncio
import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llama_operator.api import meta
from llama_operator.api.manifest import parse
from llama_operator.cli.license import account, page
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

SAMPLES = Path(__file__).resolve().parents[4] / "manifests" / "samples"
CHAT, RECORDS = SAMPLES / "llama-3.3-70b-fp8-h100.yaml", SAMPLES / "license-acceptance.yaml"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DELETED = {
    "type": "WeightsDeleted",
    "status": "Unknown",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-02-01T08:00:00Z",
    "reason": "NotRecorded",
    "message": "node caches have to be emptied by the platform owner",
}


def revision(number, name, chosen, **annotations):
    source = {"kind": "HuggingFace", "location": "RedHatAI/Llama-3.3-70B", "revision": COMMIT}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "labels": {meta.LABEL_DEPLOYMENT: "chat-70b", meta.LABEL_REVISION: name},
            "annotations": {f"{meta.GROUP}/{key.replace('_', '-')}": value for key, value in annotations.items()},
        },
        "revision": number,
        "data": {
            "inputs": {"model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"}},
            "plan": {"chosen": chosen},
            "serveConfig": {
                "applications": [
                    {
                        "args": {"source": source, "engine": {"max_model_len": 8192}},
                        "deployments": [{"autoscaling_config": {"min_replicas": 1}}],
                    }
                ]
            },
            "cluster": {
                "headGroupSpec": {"template": {}},
                "workerGroupSpecs": [
                    {
                        "groupName": "h100-80gb",
                        "template": {"spec": {"containers": [{"image": "registry/serving:1"}]}},
                    }
                ],
            },
        },
    }


@pytest.fixture
def served(world, serving_facts):
    """A deployment that serves, after a revision whose license ended: its record says what has to be deleted."""

    async def seed():
        records = list(documents(RECORDS))
        old = records[1] | {"metadata": {"name": "acme-old"}}
        old["spec"] = old["spec"] | {
            "legalEntity": "Acme Old GmbH",
            "acceptedBy": "<b>Jo</b> & Co",
            "state": "Terminated",
            "terminatedOn": "2026-02-01",
            "deletionConfirmed": {
                "confirmedBy": "Sam Roe",
                "confirmedOn": "2026-02-09",
                "what": "the volume team-a/weights",
                "evidence": "DOC-9",
            },
            "metaGrant": {"reference": "META-1", "grantedOn": "2025-01-01", "expiresOn": "2026-12-31"},
        }
        for obj in [*records, old, *documents(CHAT)]:
            await world.user.apply(json.loads(json.dumps(obj)))
        await world.operator.apply_status(old | {"status": {"observedGeneration": 1, "conditions": [DELETED]}})
        live = parse(await world.user.get(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat-70b")))
        wanted = revision_of(live).name
        chosen = serving_facts[0]
        end = {
            "acceptance": "acme-old",
            "entity": "Acme Old GmbH",
            "families": ["llama-3.3"],
            "on": "2026-02-01",
            "at": "2026-02-01T08:00:00Z",
        }
        ended = {
            "served_at": "2026-01-05T10:00:00Z",
            "license_end": json.dumps(end),
            "license": '{"acceptance": "acme-old"}',
        }
        await world.operator.apply(revision(1, "chat-70b-11111111", chosen, **ended))
        await world.operator.apply(revision(2, wanted, chosen, served_at="2026-03-02T08:30:00Z"))
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "chat-70b",
                "namespace": "team-a",
                "labels": {meta.LABEL_DEPLOYMENT: "chat-70b"},
                "annotations": {meta.ANNOTATION_TRAFFIC_SINCE: "2026-03-02T08:31:00Z"},
            },
            "spec": {"selector": {meta.LABEL_REVISION: wanted}},
        }
        await world.operator.apply(service)
        return wanted

    world.wanted = asyncio.run(seed())
    return world


def test_the_report_says_who_accepted_what_when_and_where_the_document_is(served):
    _, document = served.json("license", "report", "chat-70b")
    current, old = document["items"][0]["records"]
    assert (current["name"], current["state"], current["legalEntity"]) == ("acme-llama-3-3", "Accepted", "Acme GmbH")
    assert (current["acceptedBy"], current["acceptedOn"], current["document"]) == ("Jo Doe", "2026-03-02", "DOC-4712")
    assert (current["receivedAs"], current["domicile"]) == ("Licensee", "DE")
    assert (current["usersMonth"], current["usersCount"]) == ("2024-11", 120000)
    assert (current["usersAttestedBy"], current["usersAttestedOn"]) == ("Jo Doe", "2026-03-02")
    assert len(current["acceptedTextHashes"]) == 2
    assert set(current["acceptedTextHashes"]) <= set(current["catalogTextHashes"])
    assert (old["grantReference"], old["grantedOn"], old["grantExpiresOn"]) == ("META-1", "2025-01-01", "2026-12-31")
    assert (old["state"], old["terminatedOn"]) == ("Terminated", "2026-02-01")
    assert old["weightsDeleted"] == f"Unknown since 2026-02-01T08:00:00Z, NotRecorded: {DELETED['message']}"
    assert current["weightsDeleted"] == ""


@pytest.mark.parametrize("form", ["table", "csv", "html", "json"])
def test_every_form_of_the_report_says_who_confirmed_the_deletion(served, form):
    _, out, _ = served.run("license", "report", "chat-70b", *([] if form == "table" else ["-o", form]))
    words = ["Sam Roe", "2026-02-09"]
    for word in words if form == "table" else [*words, "the volume team-a/weights", "DOC-9"]:
        assert word in " ".join(out.split())


def test_the_report_says_which_revision_served_when_and_which_has_the_traffic(served):
    _, document = served.json("license", "report", "chat-70b")
    now, before = document["items"][0]["revisions"]
    assert (now["revision"], now["traffic"], now["servedUntil"]) == (served.wanted, True, "now")
    assert (now["servedFrom"], now["trafficSince"]) == ("2026-03-02T08:30:00Z", "2026-03-02T08:31:00Z")
    assert (now["commit"], now["image"], now["verdict"]) == (COMMIT, "registry/serving:1", "Allow")
    assert now["source"] == f"https://huggingface.co/RedHatAI/Llama-3.3-70B@{COMMIT}"
    assert (before["traffic"], before["trafficSince"], before["acceptance"]) == (False, "", "acme-old")
    assert (before["servedFrom"], before["servedUntil"]) == ("2026-01-05T10:00:00Z", "2026-02-01T08:00:00Z")
    assert before["licenseEnd"].startswith("acme-old of Acme Old GmbH ended on 2026-02-01 for llama-3.3")


def test_the_csv_has_a_column_for_every_fact_of_a_record_and_a_revision(served):
    _, document = served.json("license", "report", "chat-70b")
    item = document["items"][0]
    assert {*item["records"][0]} == {*account.RECORD_FIELDS}
    assert {*item["revisions"][0]} == {*account.REVISION_FIELDS}
    _, text, _ = served.run("license", "report", "chat-70b", "-o", "csv")
    row = next(csv.DictReader(io.StringIO(text)))
    assert {*item} - {"records", "revisions", "attested"} == {name for name in row if "." not in name}
    assert row["records.acceptedBy"] == "Jo Doe; <b>Jo</b> & Co"
    assert row["records.grantReference"] == "; META-1"
    assert row["revisions.servedUntil"] == "now; 2026-02-01T08:00:00Z"
    assert row["records.acceptedTextHashes"].split("; ")[0] == " ".join(item["records"][0]["acceptedTextHashes"])


def test_the_table_stays_short_and_says_who_accepted_and_what_serves(served):
    _, table, _ = served.run("license", "report", "chat-70b")
    words = " ".join(table.split())
    assert "acme-llama-3-3 (Acme GmbH, 2026-03-02)" in words
    assert f"{served.wanted} since 2026-03-02" in words


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_has_all_facts_escaped_and_loads_nothing(served):
    code, text, _ = served.run("license", "report", "chat-70b", "-o", "html")
    _, document = served.json("license", "report", "chat-70b")
    parsed = Page(text)
    assert code == 0
    assert parsed.open == []
    assert {*parsed.tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "span", "strong", "section",
        "table", "tr", "th", "td", "br", "ul", "li",
    }  # fmt: skip
    assert {*parsed.attributes} <= {"lang", "charset", "class"}
    assert "<b>" not in text
    assert "@media print" in text
    assert "no legal advice" in text
    assert "<b>Jo</b> & Co" in parsed.texts
    item = document["items"][0]
    for part in (*item["records"], *item["revisions"]):
        for name, value in part.items():
            for shown in value if isinstance(value, list) else [value]:
                assert shown in {"", None, True, False} or any(str(shown) in told for told in parsed.texts), name


def test_the_page_names_every_fact_of_records_and_revisions():
    assert {"name", *(name for name, _ in page.RECORD_LABELS)} == {*account.RECORD_FIELDS}
    assert {"revision", "traffic", *(name for name, _ in page.REVISION_LABELS)} == {*account.REVISION_FIELDS}


def test_the_page_says_what_was_not_checked(served):
    code, text, _ = served.run("license", "report", "-f", str(CHAT), "-o", "html")
    assert code == 0
    assert "not checked: the acceptance was not looked up" in text
