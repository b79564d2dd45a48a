"""Progress is spaced out in a log and always ends with a line."""

import io

from deployments.demo.progress import Progress


def test_log_gets_a_line_at_most_every_interval_and_the_last_one() -> None:
    now = [0.0]
    stream = io.StringIO()
    progress = Progress("demo-chat", stream, clock=lambda: now[0], interval_s=10)
    for step in range(1, 31):
        now[0] += 1.0
        progress.step(step, 30, 1.0 / step)
    progress.say("written")
    lines = stream.getvalue().splitlines()
    assert [line.split()[4].rstrip(",") for line in lines[:-1]] == ["1/30", "11/30", "21/30"]
    assert lines[-1].endswith("30.0 s  written")
