"""Files as people have them: every case is one that users of other tools on the same manifests ran into.

kubernetes#39007 and helm#6081 (encodings), kubernetes#99286 (a key twice), kubeconform#45 (empty documents), kustomize#3876
(spaces after the separator), kubectl#1318 (folders), kubernetes#24711 and #132829 (what else is in a folder, a dot in its name).
"""

import io
import json

import pytest
import yaml

from llama_operator.cli.main import main
from llama_operator.cli.shared.documents import documents, files_of, loaded
from llama_operator.errors import InvalidManifestError

OBJECT = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
YAML = yaml.safe_dump(OBJECT)
SAME = {
    "plain": YAML.encode(),
    "byte-order-mark": b"\xef\xbb\xbf" + YAML.encode(),
    "utf-16-of-powershell": YAML.encode("utf-16"),
    "utf-16-big-endian": b"\xfe\xff" + YAML.encode("utf-16-be"),
    "line-ends-of-windows": YAML.replace("\n", "\r\n").encode(),
    "empty-documents": b"# note\n---\n\n---   # again\n" + YAML.encode() + b"---   \n# nothing\n---\n",
    "document-end": YAML.encode() + b"...\n",
    "json": json.dumps(OBJECT, indent=2).encode(),
    "json-with-tabs": json.dumps(OBJECT, indent="\t").encode(),
    "json-with-mark": b"\xef\xbb\xbf" + json.dumps(OBJECT).encode(),
    "flow-yaml": b"{kind: ConfigMap, metadata: {name: a}, data: {x: '1'}}",
    "list": json.dumps({"kind": "List", "apiVersion": "v1", "items": [OBJECT]}).encode(),
    "list-of-a-kind": json.dumps({"kind": "ConfigMapList", "apiVersion": "v1", "items": [OBJECT]}).encode(),
    "merge-key": b"kind: ConfigMap\nmetadata: {name: a}\ndata:\n  <<: {x: '1'}\n",
}


def written(tmp_path, content, name="m.yaml"):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("case", SAME)
def test_the_same_object_in_every_way_to_write_it(case, tmp_path):
    assert list(documents(written(tmp_path, SAME[case]))) == [OBJECT]


def test_json_values_one_after_the_other_are_as_many_objects(tmp_path):
    path = written(tmp_path, (json.dumps(OBJECT) + "\n" + json.dumps({"kind": "B"})).encode())
    assert list(documents(path)) == [OBJECT, {"kind": "B"}]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a note\n", b"---\n---\n", b"null\n"])
def test_a_file_may_be_empty(content, tmp_path):
    assert list(documents(written(tmp_path, content))) == []


REFUSED = {
    "key-twice": (b"a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "b.c: stands twice, in lines 3 and 5"),
    "key-twice-in-a-list": (b"a:\n- b: 1\n  b: 2\n", "a[0].b: stands twice, in lines 2 and 3"),
    "key-twice-in-another-document": (b"a: 1\n---\nb: 1\nb: 1\n", "b: stands twice, in lines 3 and 4"),
    "key-twice-once-in-quotes": (b"a: 1\n'a': 2\n", "a: stands twice"),
    "key-twice-number-and-text": (b"1: a\n'1': b\n", "1: stands twice"),
    "key-twice-in-json": (b'{"a": {"b": 1,\n"b": 2}}', "a.b: stands twice, in lines 1 and 2"),
    "key-twice-in-json-with-tabs": (b'{\n\t"a": 1,\n\t"a": 2\n}', "a: stands twice, in lines 2 and 3"),
    "tab": (b"a:\n\tb: 1\n", "indent with spaces, not with tabs"),
    "alias": (b"a: &x {b: 1}\nc: *x\n", "alias *x in line 2 is not allowed; write out what it stands for"),
    "itself": (b"a: &x [*x]\n", "alias *x in line 1"),
    "python-tag": (b"a: !!python/object/apply:os.system [ls]\n", "is not YAML"),
    "list-as-key": (b"? [a, b]\n: c\n", "is not YAML"),
    "text": (b"just text\n", "(document 1): is text; must be a Kubernetes object"),
    "list-of-objects": (b"- kind: A\n", "(document 1): is a list"),
    "text-in-a-list": (b"kind: List\nitems: [x]\n", "(document 1).items[0]: is text"),
    "binary": (bytes(range(256)), "is not text in UTF-8; save it as UTF-8"),
    "utf-16-without-mark": (YAML.encode("utf-16-le"), "is not text in UTF-8; save it as UTF-8"),
    "latin-1": ("a: ü".encode("latin-1"), "is not text in UTF-8"),
    "zeros": (bytes(100), "is not text in UTF-8"),
    "too-large": (b"a: " + b"x" * 4_000_000, "is larger than 3,145,728 characters"),
    "deep-yaml": (b"a: " + b"[" * 100_000, "is nested too deeply"),
    "deep-json": (b"[" * 100_000 + b"]" * 100_000, "is nested too deeply"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why_and_where(case, tmp_path):
    content, words = REFUSED[case]
    path = written(tmp_path, content)
    with pytest.raises(InvalidManifestError) as caught:
        list(documents(path))
    assert words in str(caught.value)
    assert caught.value.subject == path
    assert "unicode string" not in str(caught.value)


def test_all_keys_that_stand_twice_are_named_at_once(tmp_path):
    with pytest.raises(InvalidManifestError) as caught:
        list(documents(written(tmp_path, b"a: 1\na: 2\n---\nb: {c: 1, c: 2}\n")))
    assert [problem.path for problem in caught.value.problems] == ["a", "b.c"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("12:30:00", "12:30:00"),
        ("1:30.5", "1:30.5"),
        ("0755", 493),
        ("0x10", 16),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("-7", -7),
        ("0", 0),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("100000000000000000000", 10**20),
        ("1.2.3", "1.2.3"),
        ("v1", "v1"),
        ("8Gi", "8Gi"),
    ],
)
def test_scalars_are_what_kubernetes_takes_them_for(text, value, tmp_path):
    assert loaded(written(tmp_path, f"a: {text}\n".encode()), limit=100) == [{"a": value}]


def test_a_folder_is_its_files_in_the_order_of_their_names(tmp_path):
    folder = tmp_path / "all.v1"
    (folder / "deeper.yaml").mkdir(parents=True)
    for name in ("b.yaml", "a.yml", "c.json", "README.md", ".d.yaml", "deeper.yaml/e.yaml", "noending"):
        (folder / name).write_text("{}", encoding="utf-8")
    names = [path.removeprefix(f"{folder}/") for path in files_of([str(folder), "-"])]
    assert names == [".d.yaml", "a.yml", "b.yaml", "c.json", "-"]


def test_a_file_that_is_named_may_have_any_name(tmp_path):
    path = written(tmp_path, YAML.encode(), "manifest.txt")
    assert files_of([path]) == (path,)


def test_a_folder_without_manifests_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("x", encoding="utf-8")
    with pytest.raises(InvalidManifestError, match=r"without a file that ends in \.json, \.yaml, \.yml"):
        files_of([str(tmp_path)])


@pytest.mark.parametrize("url", ["https://example.com/m.yaml", "http://x/y", "s3://bucket/m.yaml", "oci://x/y"])
def test_a_url_is_refused_with_what_to_do_instead(url, capsys):
    assert main(["plan", "-f", url]) == 2
    assert "is a URL; only files and folders are read" in (err := capsys.readouterr().err)
    assert f"curl -fsSL {url} |" in err


def test_links_are_followed_and_broken_ones_named(tmp_path):
    path = written(tmp_path, YAML.encode())
    (tmp_path / "link.yaml").symlink_to(path)
    assert list(documents(tmp_path / "link.yaml")) == [OBJECT]
    (tmp_path / "broken.yaml").symlink_to("/nowhere")
    with pytest.raises(InvalidManifestError, match="No such file"):
        list(documents(tmp_path / "broken.yaml"))


def test_standard_input_is_named_as_people_call_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a: 1\na: 2\n")))
    assert main(["plan", "-f", "-"]) == 2
    assert "error: standard input is invalid:\n  a\n      stands twice, in lines 1 and 2\n" in capsys.readouterr().err
