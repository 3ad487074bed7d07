"""A sketch shows what serves, what is missing and the queue; a front has those that nobody beats."""

from llama_operator.simulate.need import Need
from llama_operator.simulate.picture.curves import curves
from llama_operator.simulate.picture.sketch import sketch
from llama_operator.simulate.picture.svg import Point, pareto
from llama_operator.simulate.run import Record, Second

RECORD = Record(
    seconds=[Second(float(at), ready=2 if at < 60 else 4, target=4, held=4, queued=at, running=9) for at in range(120)]
)


def test_a_sketch_has_a_column_for_each_moment_and_shows_what_is_missing():
    found = curves(RECORD, Need((2, 4, 4, 2), 1.0), 120.0, 12)
    assert found.ready == (2.0,) * 6 + (4.0,) * 6
    assert found.need == (2.0,) * 3 + (4.0,) * 6 + (2.0,) * 3
    assert found.queued[-1] == 119
    top, *_, queue, legend = sketch(found)
    assert top == "    4 │   ▔▔▔███░░░"
    assert queue == "queue │▁▂▂▃▄▄▅▆▆▇██ at most 119"
    assert "missing" in legend


def test_a_run_without_a_queue_or_a_second_can_be_drawn():
    assert sketch(curves(Record(), Need((), 1.0), 0.0, 12))


def test_the_front_has_those_that_nobody_beats():
    points = [Point("a", 1.0, 0.9), Point("b", 1.5, 0.99), Point("c", 1.6, 0.95), Point("d", 0.9, 0.5)]
    drawn = pareto("title <1>", points)
    assert "title &lt;1&gt;" in drawn
    circles = [line for line in drawn.splitlines() if line.startswith("<circle")]
    assert ["#009E73" in line for line in circles] == [True, True, False, True]
