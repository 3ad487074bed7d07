"""Content of the license routes: the about page, the list of texts, the entry in the list of models. Pure.

Called by `licenses.routes` and `ingress`. Lines and terms come from the config, texts from the model's own folder.
"""

import html
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from llama_serving.config import LICENSES_PATH, LicenseDuties, LicenseFamilyDuties
from llama_serving.licenses.files import LicenseFile
from llama_serving.licenses.headers import attributions, output_terms

NO_ADVICE: Final = (
    "What is shown here is a record of license facts for machines and people. It is not legal advice, and showing it "
    "fulfills no duty by itself: read the license texts."
)

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 42rem; padding: 0 1rem }}
.attribution {{ font-size: 2rem; font-weight: 700; margin: .5rem 0 }}
small {{ color: #555 }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def model_metadata(model_id: str, duties: LicenseDuties | None) -> dict[str, Any]:
    """Return the `metadata` of the model's entry in `/v1/models`; empty without duties."""
    if duties is None:
        return {}
    lines = attributions(duties)
    return {
        **({"attribution": ", ".join(lines)} if lines else {}),
        "license": {**_facts(duties), "texts": texts_path(model_id)},
    }


def texts_path(model_id: str) -> str:
    """Return the path of the texts of `model_id`."""
    return f"{LICENSES_PATH}/{quote(model_id)}"


def listing(model_id: str, duties: LicenseDuties | None, files: Iterable[LicenseFile] | None) -> dict[str, Any]:
    """Return the list of the texts of a model, as JSON.

    Args:
        model_id: Name of the model.
        duties: What its licenses ask to show.
        files: The texts; None if no engine has read them yet.
    """
    return {
        "model": model_id,
        "url": texts_path(model_id),
        **_facts(duties),
        "files": None if files is None else [_entry(model_id, file, duties) for file in files],
    }


def joined(files: Iterable[LicenseFile]) -> str:
    """Return all texts one after the other, each under its name."""
    return "\n".join(f"===== {file.name} =====\n\n{file.text.strip()}\n" for file in files)


Guard = tuple[str, LicenseDuties | None]
"""Name of the guard that screens the model, and what its licenses ask to show."""


def about_json(model_id: str, duties: LicenseDuties | None, guard: Guard | None = None) -> dict[str, Any]:
    """Return the about page for programs."""
    screened = {}
    if guard is not None:
        screened = {"guard": {"model": guard[0], **_facts(guard[1]), "licenses": texts_path(guard[0])}}
    return {"model": model_id, **_facts(duties), **screened, "licenses": texts_path(model_id), "note": NO_ADVICE}


def about_html(model_id: str, duties: LicenseDuties | None, guard: Guard | None = None) -> str:
    """Return the about page for people: the line of the license first, in large type."""
    model, families = html.escape(model_id), () if duties is None else duties.families
    parts = [f"<h1>{model}</h1>"]
    parts += [f'<p class="attribution">{html.escape(line)}</p>' for line in attributions(duties)]
    for family in families:
        parts.append(f"<h2>{html.escape(family.title)}</h2>")
        if family.notice is not None:
            parts.append(f"<p>{html.escape(family.notice)}</p>")
        parts.append(f"<p>{html.escape(_output_sentence(family))}</p>")
    if families:
        parts.append(_link(model_id))
    else:
        parts.append("<p>No license of this model asks for a line to be shown.</p>")
    if guard is not None:
        parts += _of_guard(*guard)
    parts.append(f"<p><small>{html.escape(NO_ADVICE)}</small></p>")
    return _PAGE.format(title=f"About {model}", body="\n".join(parts))


def _of_guard(model_id: str, duties: LicenseDuties | None) -> list[str]:
    """Its lines and notices; no word about output, because nobody gets any of it."""
    parts = [f"<h2>Screened by {html.escape(model_id)}</h2>"]
    parts += [f'<p class="attribution">{html.escape(line)}</p>' for line in attributions(duties)]
    for family in () if duties is None else duties.families:
        notice = "" if family.notice is None else f": {family.notice}"
        parts.append(f"<p>{html.escape(family.title + notice)}</p>")
    return [*parts, _link(model_id)]


def _link(model_id: str) -> str:
    return f'<p><a href="{html.escape(texts_path(model_id))}">License texts that came with the weights</a></p>'


def _facts(duties: LicenseDuties | None) -> dict[str, Any]:
    families = () if duties is None else duties.families
    return {
        "tier": "OtherLicense" if duties is None else duties.tier,
        "attribution": list(attributions(duties)),
        "outputTerms": "" if duties is None else output_terms(duties),
        "families": [
            {
                "id": family.id,
                "title": family.title,
                "attribution": family.attribution,
                "notice": family.notice,
                "outputUse": family.output_use,
                "outputTerms": _output_sentence(family),
            }
            for family in families
        ],
    }


def _entry(model_id: str, file: LicenseFile, duties: LicenseDuties | None) -> dict[str, Any]:
    families = () if duties is None else duties.families
    return {
        "name": file.name,
        "kind": file.kind,
        "url": f"{texts_path(model_id)}/{quote(file.name)}",
        "bytes": len(file.text.encode()),
        "sha256": file.sha256,
        "textHash": file.text_hash,
        # Empty if the catalog does not know the text: another version, an edited copy, or no license of the model.
        "knownAs": [family.id for family in families if file.text_hash in family.text_hashes],
    }


def _output_sentence(family: LicenseFamilyDuties) -> str:
    return family.output_use.sentence.format(prefix=family.name_prefix or "")
