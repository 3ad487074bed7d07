"""The license chain: which license families apply to a model, and whether a deployment may use it.

    signals, fingerprint -> what names and shapes imply
    lineage              -> the families of a model: the union over every ancestor
    accepted             -> whether an acceptance is about a version and a text
    rules                -> the checks, a module a subject
    chain                -> the checks in order: `judge`
    duties, verdict      -> what follows from the verdict, and what it rests on

Pure. `decide.decision` calls `judge`; docs/licenses.md lists the rules. It gives no legal advice.
"""

from llama_operator.decide.license.chain import CHAIN, judge
from llama_operator.decide.license.check import Check
from llama_operator.decide.license.facts import LicenseInput, ModelFacts
from llama_operator.decide.license.lineage import resolve
from llama_operator.decide.license.verdict import Denial, Duties, Evidence, LicenseVerdict

__all__ = [
    "CHAIN",
    "Check",
    "Denial",
    "Duties",
    "Evidence",
    "LicenseInput",
    "LicenseVerdict",
    "ModelFacts",
    "judge",
    "resolve",
]
