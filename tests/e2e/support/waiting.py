"""Waiting with a deadline, for what no descriptor or signal announces."""
import os
import time

DEADLINE = float(os.environ.get("E2E_DEADLINE", "60" if os.environ.get("E2E_SANITIZED") else "20"))


class TooLate(AssertionError):
    pass


def until(condition, what, deadline=DEADLINE, every=0.01):
    """Returns the first true value of CONDITION()."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TooLate(f"not within {deadline} s: {what() if callable(what) else what}")
        time.sleep(every)
