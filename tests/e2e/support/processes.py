"""What /proc shows of processes: children, roles, descriptors, memory."""
import ctypes
import os
import pathlib

ROLES = ("supervisor", "config", "observer", "resolver", "relay", "handshaker", "signer", "keymaker", "acme", "fleet", "exporter")
PR_SET_CHILD_SUBREAPER = 36
ACCEPTS = 0x10000  # __SO_ACCEPTCON of the kernel, in /proc/net/unix


def adopt_orphans():
    """What a process started by a test leaves behind becomes our child, where the guard sees it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents():
    """{pid: (parent, state)} of all processes."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            state, parent = stat.rsplit(")", 1)[1].split()[:2]
            found[int(entry)] = (int(parent), state)
    return found


def descendants(pid):
    table = parents()
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        for child, (its_parent, state) in table.items():
            if its_parent == parent and state != "Z":
                found.append(child)
                todo.append(child)
    return found


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def role_of(pid):
    for word in command_line(pid).replace("=", " ").split():
        if word in ROLES:
            return word
    return None


def socket_inodes(pid):
    inodes = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended
    return inodes


def readable(pid):
    """Root alone may look into processes that are not dumpable (ptrace(2))."""
    return os.access(f"/proc/{pid}/fd", os.R_OK)


def traffic_inodes():
    """Sockets that carry sessions: TCP connections, and Unix streams that do not listen (roles talk by other types)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            f = line.split()
            if f[3] != "0A":
                inodes.add(f[9])
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]:
        f = line.split()
        if f[4] == "0001" and not int(f[3], 16) & ACCEPTS:
            inodes.add(f[6])
    return inodes


def traffic_sockets(pids):
    """{"relay 123": how many} of those processes that have any; those of the fleet role and the exporter lead to servers of their own as long as they live."""
    traffic = traffic_inodes()
    found = {f"{role_of(pid) or 'supervisor'} {pid}": len(socket_inodes(pid) & traffic)
             for pid in pids if role_of(pid) not in ("fleet", "exporter")}
    return {who: n for who, n in found.items() if n}


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def state(pid):
    """The letter of proc(5): "R", "S", "T" when it is stopped."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def pss(pid):
    """Bytes of memory that are this process' own share (its own pages, and its part of shared ones)."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def pss_without_files(pid):
    """The same without pages of programs and libraries: no matter who else uses them."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def held(pid):
    """
    Bytes of the process' own making: unlike PSS, no matter who else uses the same libraries, and without the rings, which
    fill up once and then go round.
    """
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


def listening_port(pid):
    """The TCP port that process PID listens on, or None."""
    inodes = socket_inodes(pid)
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            f = line.split()
            if f[3] == "0A" and f[9] in inodes:
                return int(f[1].rsplit(":", 1)[1], 16)
    return None


def watched(pid):
    """Descriptors in the process' epoll sets."""
    infos = pathlib.Path(f"/proc/{pid}/fdinfo").iterdir()
    return sum(info.read_text().count("tfd:") for info in infos)
