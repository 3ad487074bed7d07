"""What a decision means for the command line: an error, or an exit code. Called by the verbs that decide."""

from llama_operator.api.reasons import ConditionType
from llama_operator.catalog import load
from llama_operator.cli.shared.exit_codes import EXIT_DOES_NOT_FIT, EXIT_LICENSE_REFUSED, EXIT_OK
from llama_operator.decide.decision import Decision
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.mistakes import mistakes
from llama_operator.decide.observed import Observed
from llama_operator.errors import FieldProblem, InvalidManifestError


def raise_if_invalid(observed: Observed, decision: Decision) -> None:
    """Raise InvalidManifestError if only a different manifest can cure the problem; it names all that it has to cure."""
    problem = decision.problem
    if problem is None or not problem.invalid:
        return
    first = FieldProblem(problem.field, problem.message)
    more = (one for one in mistakes(observed, load()) if one != first)
    raise InvalidManifestError(f"LlamaDeployment {observed.deployment.metadata.name}", [first, *more])


def license_allows(verdict: LicenseVerdict | None) -> bool | None:
    """Whether the license allows it; None if nothing refuses it, but the acceptance was not looked up."""
    if verdict is None or not verdict.allowed:
        return False
    return None if any(check.result == "NotChecked" for check in verdict.evidence.checks) else True


def exit_code(decision: Decision, *, require_license: bool = False) -> int:
    """Exit code of a decision about a valid manifest.

    Args:
        decision: The decision.
        require_license: Whether a license that was not checked counts as a refusal, and goes before all that does not fit.
    """
    if require_license and not license_allows(decision.license):
        return EXIT_LICENSE_REFUSED
    if decision.problem is None:
        return EXIT_OK
    if decision.problem.condition is ConditionType.LICENSE_ACCEPTED:
        return EXIT_LICENSE_REFUSED
    return EXIT_DOES_NOT_FIT
