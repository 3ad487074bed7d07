"""Which image and which weights a revision runs, from what is pinned of it. Pure.

Called by `evidence.record` and `kubectl llama license`. A revision that was made before the catalog pinned a commit runs the
default branch, whatever the catalog says now.
"""

from collections.abc import Mapping
from typing import Any

from llama_operator.api.meta import rfc3339
from llama_operator.api.reasons import Reason
from llama_operator.decide.copies.source import Copy, Role, SourceKind
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.serve_application import arguments
from llama_operator.evidence.chain import Json


def what_runs(observed: Observed, decision: Decision, *, default_image: str) -> dict[str, Json]:
    """Return image, repository and commit as fields of a line.

    Args:
        observed: What is known of the deployment, with the records of its revisions.
        decision: The decision that is recorded; its revision is meant.
        default_image: Image of a revision that is about to be made and names none.
    """
    pinned = observed.pinned(decision.revision.name)
    chosen = decision.chosen
    if pinned is not None:
        return what_is_pinned(pinned)
    image = observed.deployment.spec.image or default_image
    if mounted := next((copy.source.location for copy in decision.copies if copy.is_image), None):
        return _fields(image, {}) | {"modelSource": mounted}
    if chosen is None or decision.model is None or not chosen.repository:
        return _fields(image, {})
    wanted = (chosen.repository, chosen.precision)
    commits = (v.revision for v in decision.model.variants if (v.repository, v.precision) == wanted)
    return _fields(image, {"location": chosen.repository, "revision": next(commits, None)})


def what_is_pinned(pinned: RevisionFacts) -> dict[str, Json]:
    """Return image, repository and commit of a revision that has been made, as fields of a line."""
    # Pods read a copy by its path; where that came from is what counts.
    copied = next((copy.source for copy in pinned.copies if copy.role is Role.MODEL), None)
    if copied is not None:
        if copied.kind is SourceKind.IMAGE:
            return _fields(_image(pinned.cluster), {}) | {"modelSource": copied.location}
        hub = {"location": copied.location, "revision": copied.commit}
        return _fields(_image(pinned.cluster), hub if copied.kind is SourceKind.HUB else {})
    source = arguments(pinned.serve_config).get("source") or {}
    return _fields(_image(pinned.cluster), source if source.get("kind") == "HuggingFace" else {})


def copies_of(decision: Decision) -> dict[str, Json]:
    """Return the copies that were verified, or were erased at the end of a license; no field if there is none.

    A claim is deleted with its last deployment: what was in it, and what was erased, is known from here then.
    """
    copied = () if decision.copying is None else decision.copying.states
    erased = () if decision.erasing is None else decision.erasing.states
    lines: list[Json] = [
        _copy(state.copy) | {"state": "Copied", "digest": seen.digest, "bytes": seen.bytes, "files": seen.files}
        for state in copied
        if (seen := state.copied) is not None
    ]
    lines += [
        _copy(state.copy)
        | {"state": state.reason.value}
        | ({} if (gone := state.erased) is None else {"bytes": gone.bytes, "files": gone.files, "at": rfc3339(gone.at)})
        for state in erased
        if state.reason is not Reason.ERASING
    ]
    return {"copies": lines} if lines else {}


def _copy(copy: Copy) -> dict[str, Json]:
    return {
        "id": copy.id,
        "role": copy.role.value,
        "source": copy.source.words,
        "commit": copy.source.commit,
        "claim": copy.claim,
    }


def _fields(image: str, source: Mapping[str, Any]) -> dict[str, Json]:
    return {
        "image": image,
        "modelRepository": str(source.get("location") or ""),
        "modelCommit": str(source.get("revision") or ""),
    } | _source(source)


def _source(source: Mapping[str, Any]) -> dict[str, Json]:
    """The address of what is downloaded, which takes the place of the one that was judged."""
    if not source.get("location"):
        return {}
    commit = source.get("revision")
    return {"modelSource": f"https://huggingface.co/{source['location']}{f'@{commit}' if commit else ''}"}


def _image(cluster: Mapping[str, Any]) -> str:
    """Image of the workers, which run the engine."""
    groups = cluster.get("workerGroupSpecs") or [{}]
    containers = groups[0].get("template", {}).get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image") or "")
