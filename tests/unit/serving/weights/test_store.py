"""Object stores: boto3 against a server that speaks S3; addresses, and what errors of the libraries mean."""

import json
import os

import pytest

from llama_serving.contract.weights import CopyOutcome, StoreSource
from llama_serving.weights.errors import CopyError
from llama_serving.weights.sources import store
from llama_serving.weights.sources.bucket import Place, parsed

BUCKET, FOLDER = "acme-models", "chat/v1"
URI = f"s3://{BUCKET}/{FOLDER}"
SHARD = "model-00001-of-00004.safetensors"


@pytest.fixture(scope="module")
def s3():
    """A server, and the environment that leads to it."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    client = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    yield client, environment
    client.close()
    server.stop()


@pytest.fixture
def filled(s3, files):
    client, environment = s3
    for path, content in files.items():
        client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{path}", Body=content)
    # Consoles make such a thing for a folder, and another model lies beside it.
    client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/", Body=b"")
    client.put_object(Bucket=BUCKET, Key=f"{FOLDER}-other/config.json", Body=b"{}")
    return client, environment


def test_a_folder_of_a_bucket_is_copied_and_left_when_it_is_there(copier, files, filled):
    _, environment = filled
    request = copier.request(None, source=StoreSource(uri=URI))
    ended = copier.run(request, environment=environment)
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.VERIFIED, 0), ended.log
    assert copier.files()[SHARD] == files[SHARD]
    assert "modeling_acme.py" not in copier.files()
    assert ended.verdict.commit is None
    assert json.loads((copier.copy / "manifest.json").read_text())["source"] == URI
    # Complete: nobody is asked, so no credentials are needed.
    assert copier.run(request).verdict.digest == ended.verdict.digest


def test_an_object_in_parts_is_copied_although_its_tag_is_no_md5(copier, files, filled):
    client, environment = filled
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=f"{FOLDER}/{SHARD}")["UploadId"]
    part = {"Bucket": BUCKET, "Key": f"{FOLDER}/{SHARD}", "UploadId": upload}
    tag = client.upload_part(PartNumber=1, Body=files[SHARD], **part)["ETag"]
    client.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **part)
    assert copier.run(copier.request(None, source=StoreSource(uri=URI)), environment=environment).code == 0


def test_what_a_store_does_not_have_has_its_verdict(copier, s3):
    _, environment = s3
    for uri, words in (("s3://nowhere/chat", "NoSuchBucket"), (f"s3://{BUCKET}/nothing", "no objects")):
        ended = copier.run(copier.request(None, source=StoreSource(uri=uri)), environment=environment)
        assert (ended.verdict.verdict, ended.code) == (CopyOutcome.NOT_FOUND, 3), ended.log
        assert words in ended.verdict.message


def test_without_credentials_the_verdict_says_so(copier):
    environment = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
    }
    environment |= {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    ended = copier.run(copier.request(None, source=StoreSource(uri=URI)), environment=environment)
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.TOKEN_INVALID, 3), ended.log


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://bucket/a/b", Place("s3", "bucket", "", "a/b/", is_anonymous=False)),
        ("gs://anonymous@bucket", Place("gs", "bucket", "", "", is_anonymous=True)),
        (
            "abfss://c@account.dfs.core.windows.net/a/",
            Place("abfss", "c", "account.dfs.core.windows.net", "a/", is_anonymous=False),
        ),
    ],
)
def test_addresses_are_read(uri, place):
    assert parsed(uri) == place


@pytest.mark.parametrize("uri", ["bucket/a", "ftp://bucket/a", "s3:///a", "azure://container/a", "s3://user@bucket/a"])
def test_other_addresses_are_refused(uri):
    with pytest.raises(CopyError, match="no folder of a store"):
        parsed(uri)


class ClientError(Exception):
    """As boto3 raises it."""

    def __init__(self, status, code):
        super().__init__(code)
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}


class ServiceError(Exception):
    """As the libraries of Google (`code`) and Azure (`status_code`) raise it."""

    def __init__(self, **attributes):
        super().__init__("words")
        for name, value in attributes.items():
            setattr(self, name, value)


NAMED = {
    name: type(name, (Exception,), {})
    for name in ("RefreshError", "ReadTimeoutError", "EndpointConnectionError", "Odd")
}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ClientError(403, "AccessDenied"), CopyOutcome.ACCESS_DENIED),
        (ClientError(403, "SignatureDoesNotMatch"), CopyOutcome.TOKEN_INVALID),
        (ClientError(400, "ExpiredToken"), CopyOutcome.TOKEN_INVALID),
        (ClientError(404, "NoSuchKey"), CopyOutcome.NOT_FOUND),
        (ClientError(412, "PreconditionFailed"), CopyOutcome.MISMATCH),
        (ClientError(403, "RequestTimeTooSkewed"), CopyOutcome.FAILED),
        (ClientError(403, "InvalidObjectState"), CopyOutcome.FAILED),
        (ClientError(503, "SlowDown"), CopyOutcome.UNREACHABLE),
        (ServiceError(code=403), CopyOutcome.ACCESS_DENIED),
        (ServiceError(code=404), CopyOutcome.NOT_FOUND),
        (ServiceError(status_code=403, error_code="AuthenticationFailed"), CopyOutcome.TOKEN_INVALID),
        (NAMED["RefreshError"]("x"), CopyOutcome.TOKEN_INVALID),
        (NAMED["ReadTimeoutError"]("x"), CopyOutcome.STALLED),
        (NAMED["EndpointConnectionError"]("x"), CopyOutcome.UNREACHABLE),
        (NAMED["Odd"]("x"), CopyOutcome.FAILED),
    ],
)
def test_errors_of_the_libraries_have_their_verdict(error, outcome, monkeypatch):
    monkeypatch.setattr(store, "_bucket_of", lambda _: None)
    assert store.Store(StoreSource(uri=URI)).explain(error, "a").outcome is outcome


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (ClientError(403, "RequestTimeTooSkewed"), "clock of this node"),
        (ClientError(403, "InvalidObjectState"), "restore it"),
        (ServiceError(status_code=409, error_code="BlobArchived"), "restore it"),
        (ClientError(400, "AuthorizationHeaderMalformed"), "set region"),
        (ClientError(301, "PermanentRedirect"), "set region"),
    ],
)
def test_what_no_other_credentials_change_is_told_with_what_does(error, cure, monkeypatch):
    monkeypatch.setattr(store, "_bucket_of", lambda _: None)
    assert cure in store.Store(StoreSource(uri=URI)).explain(error, "a").message
