"""How many replicas are started where none serves: nothing can be taken back before they do, and all that came waits. Called by `policy`.

Serve itself starts one replica then and asks no policy; `waking` makes it ask.
"""

import math
from dataclasses import replace

from llama_serving.autoscaling.arrivals import persistent
from llama_serving.autoscaling.need import Need, rounded_up, stands_by, surge, waiting_work
from llama_serving.autoscaling.sight import Sight

_LASTING_SECONDS = 20.0
"""So long one line must explain a load before replicas are started for what it leaves behind."""


def first_replicas(see: Sight, need: Need | None) -> int:
    """Return the replicas that keep up with what has come for certain, and clear what waits by then; 0 if nothing is known.

    More of it is asked for again in a second, and nothing is taken back.

    Args:
        see: What is known.
        need: What the load needs; None if it is unknown.
    """
    if need is None or see.load is None or not see.facts.priced or see.slots <= 0:
        return 0
    sure = max(0.0, see.load.level - see.load.level_error) * see.one.request / need.share
    clearing = _clearing(see, replace(need, certain=sure, until=sure))
    reserve = math.ceil(see.knobs.reserve) if sure else 0
    # What stands by clears as well.
    ready = rounded_up(sure * (1 + stands_by(see.knobs.price)))
    return min(max(ready + reserve, clearing), need.most)


def _clearing(see: Sight, need: Need) -> int:
    """Replicas that clear what will wait when they serve; a burst of seconds leaves only itself, and is late whatever is done."""
    stays = persistent(see.queues, 1)
    if stays is None or see.load is None or see.load.seconds < _LASTING_SECONDS:
        return 0
    return surge(
        waiting_work(stays, 0.0, see.one),
        need,
        (),
        see.starts.coming,
        see.ahead,
        price=see.knobs.price,
        slack=see.facts.objective,
    )
