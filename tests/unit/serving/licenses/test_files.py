"""License files in folders that nobody trusts, and the refusal of folders that lack them."""

import hashlib
import os

import pytest

from llama_serving.config import LicenseDuties, LicenseFamilyDuties
from llama_serving.licenses.files import MOST_BYTES, MOST_FILES, LicenseFilesMissingError, read_license_files, require

DUTIES = LicenseDuties(
    tier="CommunityLlama31Plus",
    families=(LicenseFamilyDuties(id="llama-3.3", title="Llama 3.3 Community License"),),
    required_files=("License",),
)


def names(folder):
    return [file.name for file in read_license_files(folder)]


def refusal(folder, duties=DUTIES, **more):
    with pytest.raises(LicenseFilesMissingError) as caught:
        require(read_license_files(folder), model_id="llama-3.3-70b", duties=duties, folder=folder, **more)
    return str(caught.value)


def test_licenses_come_first_then_the_policy_then_the_notice(tmp_path):
    for name in ("NOTICE", "USE_POLICY.md", "LICENSE.txt", "config.json", "README.md"):
        (tmp_path / name).write_text(name)

    assert names(tmp_path) == ["LICENSE.txt", "USE_POLICY.md", "NOTICE"]


@pytest.mark.parametrize(
    "name", ["LICENSE", "license.md", "LICENCE.txt", "LICENSE-3.1", "LICENSE_LLAMA3.md", "Use_Policy.md", "Notice"]
)
def test_names_that_publishers_use_are_found(tmp_path, name):
    (tmp_path / name).write_text("text")

    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["LICENSE.pdf", "LICENSE.safetensors", "noticed.md", "LICENSE\n.txt", "my-LICENSE"])
def test_other_names_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("text")

    assert names(tmp_path) == []


def test_the_hash_is_of_the_bytes_and_the_text_is_as_written(tmp_path):
    content = "Copyright © Meta Platforms, Inc.\r\n".encode()
    (tmp_path / "LICENSE").write_bytes(content)

    (file,) = read_license_files(tmp_path)

    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.text == content.decode()


def test_a_text_in_another_encoding_is_read(tmp_path):
    (tmp_path / "LICENSE").write_bytes("Copyright © “Meta”".encode("cp1252"))

    assert read_license_files(tmp_path)[0].text == "Copyright © “Meta”"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "token").write_text("secret")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "LICENSE").symlink_to("../token")
    (tmp_path / "model" / "NOTICE").symlink_to(tmp_path / "token")

    assert names(tmp_path / "model") == []


def test_a_snapshot_of_the_hub_may_link_to_its_own_blobs_alone(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    (blobs / "1").write_text("the license")
    (tmp_path / "models--a--b" / "refs").write_text("not a text of the model")
    (snapshot / "LICENSE").symlink_to("../../blobs/1")
    (snapshot / "NOTICE").symlink_to("../../refs")

    assert [(file.name, file.text) for file in read_license_files(snapshot)] == [("LICENSE", "the license")]


def test_a_folder_whose_parent_is_called_snapshots_does_not_open_the_disk(tmp_path):
    (tmp_path / "secret").write_text("secret")
    model = tmp_path / "snapshots" / "model"
    model.mkdir(parents=True)
    (model / "LICENSE").symlink_to(tmp_path / "secret")

    assert names(model) == []


def test_a_volume_that_links_within_itself_is_read(tmp_path):
    """Kubernetes projects files of a ConfigMap in that way."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "LICENSE").write_text("text")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "LICENSE").symlink_to("..data/LICENSE")

    assert names(tmp_path) == ["LICENSE"]


def test_files_that_are_too_large_or_no_text_or_no_file_are_left_out(tmp_path):
    (tmp_path / "LICENSE").write_text("a" * (MOST_BYTES + 1))
    (tmp_path / "LICENSE.md").write_text("a" * MOST_BYTES)
    (tmp_path / "LICENSE.txt").write_bytes(b"a\0b")
    (tmp_path / "USE_POLICY").mkdir()
    os.mkfifo(tmp_path / "NOTICE")

    assert names(tmp_path) == ["LICENSE.md"]


def test_no_more_than_a_few_files_are_read(tmp_path):
    for number in range(MOST_FILES + 5):
        (tmp_path / f"LICENSE-{number}.txt").write_text("text")

    assert len(names(tmp_path)) == MOST_FILES


def test_a_folder_that_is_not_there_has_no_files(tmp_path):
    assert names(tmp_path / "gone") == []


def test_a_folder_with_a_license_is_accepted(tmp_path):
    (tmp_path / "LICENSE.txt").write_text("text")

    require(read_license_files(tmp_path), model_id="m", duties=DUTIES, folder=tmp_path)


def test_a_folder_without_a_license_is_refused_with_a_line_that_says_what_to_do(tmp_path):
    (tmp_path / "USE_POLICY.md").write_text("text")

    message = refusal(tmp_path)

    assert message.startswith("LicenseFilesMissing: llama-3.3-70b was not started")
    for part in (str(tmp_path), "LICENSE*", "servedLicenseFiles: Required", "beside config.json", "restartedAt"):
        assert part in message
    assert "\n" not in message


def test_an_empty_license_is_none(tmp_path):
    (tmp_path / "LICENSE").write_text(" \n")

    assert "LICENSE*" in refusal(tmp_path)


def test_every_kind_that_is_asked_for_and_missing_is_named(tmp_path):
    (tmp_path / "LICENSE").write_text("text")
    asked = DUTIES.model_copy(update={"required_files": ("License", "UsePolicy", "Notice")})

    assert "no readable USE_POLICY*, NOTICE*" in refusal(tmp_path, asked)


def test_why_the_folder_could_not_be_had_is_part_of_the_refusal(tmp_path):
    assert "(the hub is away)" in refusal(tmp_path, why="the hub is away")


@pytest.mark.parametrize("duties", [None, DUTIES.model_copy(update={"required_files": ()})])
def test_nothing_is_asked_without_a_policy(tmp_path, duties):
    require(read_license_files(tmp_path), model_id="m", duties=duties, folder=tmp_path)
