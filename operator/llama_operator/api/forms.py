"""What a text of a manifest has to look like, in words: nobody should have to read a pattern. Called by `api.manifest`.

tests/unit/api/test_forms.py holds that every pattern of our definitions has its words here.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from llama_operator.api.v1alpha1.access import CIDR
from llama_operator.api.v1alpha1.common import LETTER_OR_DIGIT
from llama_operator.api.v1alpha1.endpoint import HOST
from llama_operator.api.v1alpha1.pods import LABEL_KEY
from llama_operator.api.v1alpha1.scaling import BEGIN, END, TIME_ZONE
from llama_serving.contract.keys import KEY_ID_PATTERN
from llama_serving.contract.tenants import ADDRESS_PATTERN

_ENDS = "and a letter or a digit at both ends"
WORDS: Final[Mapping[str, str]] = {
    r"^https?://[^\s]+$": "must be an address that begins with https:// or http://, without spaces",
    r"^https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/\S*)?$": "must be an address that begins with https://, without spaces",
    r"^[a-z0-9]+://[A-Za-z0-9][A-Za-z0-9._/=+@-]*$": (
        "must be a folder of an object store, for example s3://models/acme-chat/v3"
    ),
    r"^https?://[A-Za-z0-9][A-Za-z0-9.:/-]*$": "must be an address that begins with https:// or http://, for example http://minio:9000",
    r"^[a-z0-9]+$": "must have only lower case letters and digits",
    r"^[a-z0-9][a-z0-9-]*$": "must have only lower case letters, digits and '-', and begin with a letter or a digit",
    r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$": "must be the name of a model, for example llama-3.1-8b; `kubectl llama models` lists them",
    r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$": (
        "must have only letters, digits, '.', '_', '-' and '/', with a letter or a digit at both ends, for example Llama-chat"
    ),
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$": (
        "must be the whole name of a host in lower case, without https:// and without a port, for example images.acme.com"
    ),
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$": "must be a day, YYYY-MM-DD, for example 2026-03-02",
    r"^[0-9]{4}-[0-9]{2}$": "must be a month, YYYY-MM, for example 2026-03",
    r"^S[1-9][0-9]{0,2}$": "must be the id of a hazard category as the guard writes it, for example S1",
    r"^[A-Z]{2}$": "must be a country by its two capital letters (ISO 3166 alpha-2), for example DE",
    r"^[0-9a-f]{64}$": "must be a SHA-256: 64 hexadecimal digits, in lower case",
    r"^[0-9a-f]{40}$": "must be a commit: 40 hexadecimal digits, in lower case; a branch or a tag can move",
    r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$": f"must have only lower case letters, digits, '.' and '-', {_ENDS}",
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$": f"must have only lower case letters, digits and '-', {_ENDS}",
    r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$": f"must have only letters, digits, '.' and '-', {_ENDS}",
    r"^[A-Za-z0-9]([A-Za-z0-9 ._/-]*[A-Za-z0-9])?$": f"must have only letters, digits, spaces, '.', '_', '/' and '-', {_ENDS}",
    r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$": "must be a repository, owner/name, for example meta-llama/Llama-3.1-8B",
    r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$": (
        "must be a folder of letters, digits, '.', '_' and '-', with '/' between its parts, for example support/v3"
    ),
    r"^[A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*$": (
        "must be a folder of letters, digits, '.', '_' and '-', with '/' between its parts"
    ),
    r"^[A-Za-z0-9._-]+$": "must have only letters, digits, '.', '_' and '-'",
    r"^[a-z0-9_-]*$": "must have only lower case letters, digits, '_' and '-'",
    r"^[A-Za-z0-9_-]+$": "must have only letters, digits, '_' and '-'",
    r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$": (
        "must be the key of a label: letters, digits, '-', '_' and '.', with a domain and '/' before them or without, for example "
        "nvidia.com/gpu.product"
    ),
    r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$": f"must have only letters, digits, '-', '_' and '.', {_ENDS}",
    r"^[0-9]{1,2}\.[0-9]$": "must be a compute capability, for example 8.9",
    r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$": (
        "must be an extended resource: a domain, '/' and a name, for example nvidia.com/gpu"
    ),
    r"^[A-Za-z0-9:.+-]+$": "must have only letters, digits, ':', '.', '+' and '-', for example 2026-03-02T09:30:00Z",
    r"^[A-Za-z][A-Za-z0-9]*$": "must begin with a letter and have only letters and digits",
    r"^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$": (
        "must be the name of a file that ends in .safetensors, of letters, digits, '.', '_' and '-'"
    ),
    r"^[a-z0-9]([A-Za-z0-9._/:@-]*[A-Za-z0-9])?$": (
        "must be a container image, for example registry.example.com/team/image:1.0"
    ),
    r"^[a-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9._:@-]+)*([A-Za-z0-9]|/\*|/[a-z0-9._-]+[:@]\*)$": (
        "must be a container image, or a beginning of some that ends in /*, :* or @*, for example registry.example.com/team/*"
    ),
    LABEL_KEY: (
        "must be the key of a label: at most 63 letters, digits, '-', '_' and '.', with a domain and '/' before them or without"
    ),
    r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$": f"must have only letters, digits, '-', '_' and '.', {_ENDS}, or be empty",
    r"^([1-9][0-9]*m?|[0-9]+[.][0-9]{1,3})$": "must be cores as Kubernetes writes them, for example 3, 2.5 or 2500m",
    r"^[1-9][0-9]*([.][0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$": "must be bytes as Kubernetes writes them, for example 12Gi",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "must be the name of a variable: letters, digits and '_', no digit first",
    r"^[0-9A-Fa-f:.]+$": "must be an IP address",
    r"^http://[A-Za-z0-9.:\[\]-]+/?$": "must be an address that begins with http://, with host and port and no password",
    HOST: (
        "must be a DNS name in lower case without a port, for example llama.acme.example; the first label may be *, and the last "
        "one begins with a letter"
    ),
    r"^[A-Za-z0-9._:/=, -]+$": "must have only letters, digits, spaces, '.', '_', ':', '/', '=', ',' and '-'",
    r"^[A-Za-z0-9.:/*_-]+$": "must be a host, a domain or a network, for example .acme.example",
    CIDR: "must be a network, for example 10.0.0.0/8 or fd00::/8",
    BEGIN: "must be an hour and a minute, for example 08:00; in YAML with quotes",
    END: "must be an hour and a minute, for example 18:00, or 24:00; in YAML with quotes",
    TIME_ZONE: "must be the name of a time zone, for example Europe/Berlin",
    KEY_ID_PATTERN: "must be the id of a key: 16 lower case letters and digits from 2 to 7; `kubectl llama key list` has them",
    ADDRESS_PATTERN: "must be a host and a port, for example valkey.data.svc:6379",
    LETTER_OR_DIGIT: "must have a letter or a digit in it",
    r"\S": "must have something other than spaces in it",
}
"""Words by pattern; the pattern is what the API server checks."""


def words(pattern: str) -> str:
    """What `pattern` asks of a text; the pattern itself, where it has no words."""
    return WORDS.get(pattern, f"must match {pattern}")


def broken(model: type[BaseModel], location: tuple[int | str, ...], value: object) -> str:
    """What the form of the text at `location` of a manifest has to be, if `value` does not have it; else empty.

    A text of the wrong form often has the wrong length as well, of which pydantic tells first: `ftp://x` is no address, and
    a longer one would be none either.

    Args:
        model: What the manifest is.
        location: Where, by API names and positions in lists.
        value: What stands there.
    """
    if not isinstance(value, str) or not value.strip():
        return ""
    pattern = _pattern(model.model_json_schema(by_alias=True), location)
    # Patterns by the property of a character are not known to `re`; no length depends on them.
    if not pattern or r"\p" in pattern or re.search(pattern, value):
        return ""
    return words(pattern)


def _pattern(schema: Mapping[str, Any], location: tuple[int | str, ...]) -> str:
    node: Mapping[str, Any] = schema
    for part in location:
        node = _resolved(schema, node)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return str(_resolved(schema, node).get("pattern", ""))


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind a reference, or behind `… | None`."""
    for option in (node, *node.get("anyOf", ())):
        if "$ref" in option:
            found: Mapping[str, Any] = schema["$defs"][option["$ref"].rsplit("/", 1)[1]]
            return found
        if option.get("type") not in {None, "null"}:
            return dict(option)
    return node
