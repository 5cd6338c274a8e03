"""The table of docs/fleet.md is what the model computes."""
import subprocess
import sys

from support.proxy import ROOT


def test_the_table_is_the_simulations():
    r = subprocess.run([sys.executable, str(ROOT / "bench/fleet-sim")], capture_output=True, text=True, check=True)
    lines = r.stdout.splitlines()
    text = (ROOT / "docs/fleet.md").read_text()
    assert len(lines) == 9
    for line in lines[:1] + lines[2:]:
        assert line in text, line


def test_it_is_the_same_each_time_and_another_by_another_seed():
    runs = [subprocess.run([sys.executable, str(ROOT / "bench/fleet-sim"), seed], capture_output=True, text=True, check=True).stdout for seed in ("7", "7", "8")]
    assert runs[0] == runs[1] != runs[2]
