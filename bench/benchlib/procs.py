"""What processes cost: CPU time to the nanosecond, memory, and how busy each CPU was with anything else."""
import os
import pathlib
import time

TICK = os.sysconf("SC_CLK_TCK")


def tree(root):
    """The process and all that descend from it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_clock(pid):
    """Seconds of CPU time of all threads of a process, ended ones too: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def reaped(pid):
    """Seconds of CPU time of children that have ended and been waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICK


def cpu_of(pids):
    """By pid, so that two readings can be subtracted even when a process came in between."""
    stats = {}
    for pid in pids:
        try:
            stats[pid] = cpu_clock(pid) + reaped(pid)
        except OSError:
            continue
    return stats


def grown(before, after):
    return sum(t - before.get(pid, 0) for pid, t in after.items())


def split(pids):
    """(user, system) seconds, in ticks of the kernel."""
    user = system = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        user += int(fields[11])
        system += int(fields[12])
    return user / TICK, system / TICK


def memory(pids):
    """(all, own) bytes of PSS: pages that processes share are counted once, by parts. Own: without pages of files, whose part
    changes when strangers map the same libraries."""
    sums = dict.fromkeys(("Pss:", "Pss_Anon:", "Pss_Shmem:"), 0)
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name = line.split()[0]
            if name in sums:
                sums[name] += int(line.split()[1]) * 1024
    return sums["Pss:"], sums["Pss_Anon:"] + sums["Pss_Shmem:"]


def host_busy():
    """CPU number -> seconds that it was not idle, stolen time included."""
    busy = {}
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith("cpu") and line[3].isdigit():
            name, *ticks = line.split()
            ticks = [int(t) for t in ticks]
            busy[int(name[3:])] = (sum(ticks[:8]) - ticks[3] - ticks[4]) / TICK
    return busy
