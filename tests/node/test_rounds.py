from __future__ import annotations

import json
import threading

from node.rounds import rounds


def test_a_step_that_fails_is_tried_again_and_each_reason_said_once(capfd):
    stop, reasons = threading.Event(), ["full", "full", "broken", None, "full"]

    def step():
        reason = reasons.pop(0)
        if not reasons:
            stop.set()
        if reason:
            raise OSError(28, reason)
    rounds(stop, step, "worker_failed", pause_s=0.001, place="here")
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [one["reason"].split(" in ")[0] for one in said] == ["OSError: full", "OSError: broken", "OSError: full"]
    assert {(one["event"], one["place"]) for one in said} == {("worker_failed", "here")}
