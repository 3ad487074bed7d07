"""The end of Serve's controller: engines go on, answer meanwhile, and are the same when another controller has started."""

import pytest

from support.serving.scaling.watching import watching

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

CONTROLLER = "ray::ServeController"


def running(app):
    return {name for name, state in app.cluster.replicas(app.config.server_deployment).items() if state == "RUNNING"}


def test_engines_survive_the_end_of_the_controller(app, load, eventually):
    app.cluster.wait_until_running()
    before, (controller,) = running(app), app.cluster.named(CONTROLLER)
    answers = load(4, tokens=400)
    with watching(app.cluster) as said:
        controller.kill()
        answers += load(4, tokens=400)
        new = eventually(
            lambda: [one for one in app.cluster.named(CONTROLLER) if one.pid != controller.pid],
            seconds=300,
            what="another controller",
        )
        assert len(new) == 1
        eventually(lambda: running(app), seconds=300, what="what the new controller knows")
        app.cluster.wait_until_running()
    assert not said.refused
    assert said.replicas == {len(before)}, "what serves was called gone while another controller began"
    assert running(app) == before
    assert {answer.result() for answer in answers} == {400}
    # A replica that the controller gives up is gone when its requests are answered.
    assert app.greedy("llama", tokens=4)
    assert running(app) == before
