"""From what is observed to what shall be: resolve the model, judge its license, plan, roll out.

    decided   -> the decision itself
    wanted    -> the revision that the spec asks for, with `hardware` and `weights`
    whole     -> `decide`: that, and what becomes of the revisions that run

`decide` is called by the reconcile and by `kubectl llama plan`; it never fails for what a user wrote: a problem is part
of the decision, and a decision with a problem changes nothing that runs.
"""

from llama_operator.decide.decision.decided import Decision
from llama_operator.decide.decision.whole import decide, decide_ends

__all__ = ["Decision", "decide", "decide_ends"]
