"""Waiting with a deadline, for what no descriptor or signal announces."""
import os
import time

DEADLINE = float(os.environ.get("E2E_DEADLINE", "60"))  # only a failure takes that long


class TooLate(AssertionError):
    pass


def shortened(text):
    """Of a long text the beginning and the end."""
    return text if len(text) < 30000 else text[:1000] + "\n[...]\n" + text[-29000:]


def until(condition, what, deadline=DEADLINE, every=0.01):
    """Returns the first true value of CONDITION()."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TooLate(f"not within {deadline} s: {shortened(what() if callable(what) else what)}")
        time.sleep(every)


def whole_lines(text):
    """Of a file that is being written: its last line may be half there."""
    return text.rpartition("\n")[0].splitlines()


def standstill(measure, what, times=20, every=0.02):
    """The value of MEASURE() once it is the same so many times in a row."""
    last, same = None, 0

    def still():
        nonlocal last, same
        now = measure()
        same = same + 1 if now == last else 0
        last = now
        return same >= times

    until(still, lambda: f"standstill of {what}, last {last}", every=every)
    return last
