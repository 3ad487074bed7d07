"""Plays incidents on a development cluster and checks what each view says of them, and how soon. `make gameday`.

An incident is data (`incidents/`): how it is played, and what has to be said. `runner` plays them, `judge` compares what was
said with what has to be, `report` prints it. Used by `make gameday`, tests/control_plane/test_incidents.py, and by `generate`,
which writes docs/incidents.md from the same incidents.
"""
