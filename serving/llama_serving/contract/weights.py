"""Copies of weights in a claim: what the operator asks a Job for, and what the Job's pod answers.

The operator renders a `CopyRequest` into the Job and reads a `CopyVerdict` in its pod's status; `llama_serving.weights` is the
program between them. Pods that serve mount the folder of the copy, and look at nothing else of the claim.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field

from llama_serving.contract.contents import DeclaredContents
from llama_serving.contract.frozen import Frozen, Live

FORMAT: Final = 1
"""Version of the request. The program refuses another one: an image may be older than the operator."""

MODULE: Final = "llama_serving.weights"
"""What the Job runs, as `python -m`, with one of the two words that follow."""
COPY: Final = "copy"
ERASE: Final = "erase"

REQUEST_VARIABLE: Final = "LLAMA_WEIGHTS"
"""Environment variable with the request as JSON. The token has the variable `contract.hub.TOKEN_VARIABLE`."""

CLAIM_FOLDER: Final = "/weights"
"""Where the Job mounts the whole claim."""
SOURCE_FOLDER: Final = "/source"
"""Where the Job mounts the volume of a source of kind Path."""
MODELS_FOLDER: Final = "/models"
"""Pods that serve mount `<id>` of the claim, by subPath, at `<id>` below it."""

ENGINES_FOLDER: Final = "engines"
"""Folder of the claim with what engines compile: the Job makes it, so that pods of the same user may write below it."""

MANIFEST: Final = "manifest.json"
"""File of a copy with path, size and SHA-256 of all its other files."""
MARKER: Final = ".complete"
"""Last file that is written. A folder without it is no copy."""

MOST_VERDICT_BYTES: Final = 4096
"""Kubernetes keeps as much of a termination message."""

CopyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""Identity of a copy: follows from its source."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256."""


class HubSource(Frozen):
    """A repository of the Hub at one commit."""

    kind: Literal["HuggingFace"] = "HuggingFace"
    repository: str = Field(min_length=1, max_length=192, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    endpoint: str = Field(min_length=1, max_length=512, pattern=r"^https?://")


class StoreSource(Frozen):
    """A folder of an object store: `s3://`, `gs://`, `abfss://` or `azure://`."""

    kind: Literal["ObjectStore"] = "ObjectStore"
    uri: str = Field(min_length=1, max_length=1088)


class PathSource(Frozen):
    """A folder of a volume, which the Job mounts at `SOURCE_FOLDER`."""

    kind: Literal["Path"] = "Path"
    path: str = Field(min_length=1, max_length=1088, pattern=r"^/")


CopySource = Annotated[HubSource | StoreSource | PathSource, Field(discriminator="kind")]


class CopyRequest(Frozen):
    """What the Job is asked for. The names are those of the JSON object in `REQUEST_VARIABLE`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    format: Literal[1] = 1
    id: CopyId
    source: CopySource
    expected_bytes: int | None = Field(default=None, ge=0, alias="expectedBytes")
    """Bytes that the copy will have, as the catalog or a LlamaModel says; None if nobody does."""
    files: dict[Annotated[str, Field(min_length=1, max_length=512)], Digest] = Field(
        default_factory=dict, max_length=64
    )
    """Files that have to be there with these digests: license texts."""
    requires_license: bool = Field(default=False, alias="requiresLicense")
    """Whether a license text has to be at the top of the source: house policy asks for one, and engines would not start without it."""
    contents: DeclaredContents | None = None
    """What config.json has to say: compared before the weights are fetched. None: it is not compared."""

    def to_json(self) -> str:
        """The value of `REQUEST_VARIABLE`; the same request always has the same text."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    @classmethod
    def of_json(cls, text: str) -> Self:
        """Read the value of `REQUEST_VARIABLE`.

        Raises:
            ValueError: If it is not one, or of another format.
        """
        return cls.model_validate_json(text)


class CopyOutcome(StrEnum):
    """How a Job ended."""

    VERIFIED = "Verified"
    """The copy is complete, and every digest was compared."""
    ERASED = "Erased"
    """No byte of the copy is left in the claim."""
    NO_SPACE = "NoSpace"
    """The claim has not enough room for it."""
    NOT_WRITABLE = "NotWritable"
    """The claim is read-only, or its root belongs to another user and group."""
    MISMATCH = "Mismatch"
    """A file is not what its source, or the request, says it is."""
    TOKEN_INVALID = "TokenInvalid"  # noqa: S105 - a word
    """The source asks for credentials and there are none, or it does not know them (any more)."""
    ACCESS_DENIED = "AccessDenied"
    """The source knows the credentials, and refuses them these files."""
    NOT_FOUND = "NotFound"
    """The source has no such repository, commit, bucket, folder or file."""
    UNREACHABLE = "Unreachable"
    """The source gave no usable answer."""
    STALLED = "Stalled"
    """The source answered, and then sent nothing any more."""
    FORBIDDEN = "Forbidden"
    """What the source has may not be copied: pickled weights, or a model that needs code of its maker."""
    FAILED = "Failed"
    """Anything else; the message says what."""


FINAL: Final = frozenset(
    {
        CopyOutcome.NO_SPACE,
        CopyOutcome.NOT_WRITABLE,
        CopyOutcome.MISMATCH,
        CopyOutcome.TOKEN_INVALID,
        CopyOutcome.ACCESS_DENIED,
        CopyOutcome.NOT_FOUND,
        CopyOutcome.FORBIDDEN,
    }
)
"""Verdicts that another try with the same request, claim and token cannot change."""

EXIT_DONE: Final = 0
"""Exit code with `Verified` and `Erased`."""
EXIT_AGAIN: Final = 1
"""Exit code with a verdict that another try may change, and without a verdict."""
EXIT_FINAL: Final = 3
"""Exit code with a verdict of `FINAL`: for the Job's podFailurePolicy."""


def exit_code(outcome: CopyOutcome) -> int:
    """The exit code that goes with a verdict."""
    if outcome in {CopyOutcome.VERIFIED, CopyOutcome.ERASED}:
        return EXIT_DONE
    return EXIT_FINAL if outcome in FINAL else EXIT_AGAIN


class CopyVerdict(Live):
    """The termination message of the Job's pod, as JSON in at most `MOST_VERDICT_BYTES` bytes.

    The image may be newer than the operator: fields that it does not know are left alone.
    """

    verdict: CopyOutcome
    message: str = Field(default="", max_length=1024)
    """What to know beside the verdict; no token is ever in it."""
    file: str | None = Field(default=None, max_length=512)
    """The file that the verdict is about."""
    bytes: int = Field(default=0, ge=0)
    """Bytes of the copy, or bytes erased."""
    files: int = Field(default=0, ge=0)
    """Files of the copy, or files erased."""
    seconds: float = Field(default=0.0, ge=0)
    """How long this pod took."""
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    """Digest of the copy's manifest."""
    commit: str | None = Field(default=None, max_length=64)
    """Commit that was copied, of a source that has any."""


class CopiedFile(Frozen):
    """A file of a copy."""

    path: str = Field(min_length=1, max_length=512)
    """Below the folder of the copy."""
    size: int = Field(ge=0)
    """Bytes."""
    sha256: Digest


class Manifest(Live):
    """Content of the file `MANIFEST`."""

    format: int = 1
    id: CopyId
    source: str = Field(max_length=2048)
    """Where the files came from, for people."""
    commit: str | None = Field(default=None, max_length=64)
    files: tuple[CopiedFile, ...]
    """By path."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)
