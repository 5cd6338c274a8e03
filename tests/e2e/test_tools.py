"""The scripts around the build: what they leave on a machine, when they are interrupted too, and that they do what is asked."""
import os
import re
import shutil
import signal
import subprocess

import pytest

from support.proxy import ROOT
from support.waiting import until

POLICY = "usr-sbin/policy-rc.d"
OURS = "# made by tools/install-deps of tls-off"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts over /usr/sbin")


@pytest.fixture
def machine(tmp_path):
    """An /usr/sbin that is empty, no package installed, and an apt-get that installs as long as the file "hold" is there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "usr-sbin").mkdir()
    for name, text in {
        "dpkg-query": "#!/bin/sh\nexit 1\n",
        "dpkg": "#!/bin/sh\necho amd64\n",
        "apt-get": f"""#!/bin/sh
            cd {tmp_path}
            [ ! -e locked ] || {{ : >refused; echo 'E: Could not get lock /var/lib/apt/lists/lock.'; exit 100; }}
            [ "$1" = install ] || exit 0
            echo 'Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)... 1s'
            echo 'Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)... 2s'
            cat usr-sbin/policy-rc.d >policy 2>&1
            echo 'Need to get 12.3 MB of archives.'
            echo 'pmstatus:wrk:42.0000:Installing wrk'
            : >installing
            while [ -e hold ]; do sleep 0.02; done
            [ ! -e broken ] || {{ echo 'E: no such thing'; exit 100; }}
            """,
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def install_deps(machine, *groups):
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f'mount --bind {machine}/usr-sbin /usr/sbin && exec "$@"', "sh", ROOT / "tools/install-deps", *groups],
        env={**os.environ, "PATH": f"{machine}/bin:/usr/bin:/bin", "TMPDIR": str(machine)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def left_over(machine):
    return [f.name for f in machine.glob("tmp.*")] + [f.name for f in (machine / "usr-sbin").iterdir()]


@as_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_an_interrupted_installation_leaves_nothing(machine, number):
    (machine / "hold").touch()
    p = install_deps(machine, "test")
    until((machine / "installing").exists, "apt-get runs")
    assert (machine / POLICY).read_text().startswith("#!/bin/sh\n" + OURS)
    os.killpg(p.pid, number)
    p.communicate(timeout=60)
    assert p.returncode == 128 + number
    assert left_over(machine) == []


@as_root
def test_installation_says_how_much_and_how_far(machine):
    out, err = install_deps(machine, "test").communicate(timeout=60)
    assert "Need to get 12.3 MB of archives." in out and "installed 40 %" in out and err == ""
    assert "exit 101" in (machine / "policy").read_text(), "a service could have been started"
    assert left_over(machine) == []


@as_root
def test_a_failed_installation_says_why(machine):
    (machine / "broken").touch()
    p = install_deps(machine, "test")
    _, err = p.communicate(timeout=60)
    assert p.returncode == 1 and "E: no such thing" in err and "could not install: " in err
    assert left_over(machine) == []


@as_root
def test_another_installation_is_waited_for(machine):
    (machine / "locked").touch()
    p = install_deps(machine, "test")
    until((machine / "refused").exists, "the first try")
    (machine / "locked").unlink()
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and err == ""
    assert out.count("another apt-get is at work; waiting\n") == 1
    assert out.count("held by process 7") == 1, "it says so once, not each second"
    assert left_over(machine) == []


@as_root
def test_packages_without_services_need_no_policy(machine):
    install_deps(machine, "build", "run").communicate(timeout=60)
    assert "exit 101" not in (machine / "policy").read_text()


@as_root
@pytest.mark.parametrize("text, stays", [("#!/bin/sh\n# the administrator's\nexit 101\n", True), (None, False)], ids=["another's", "of a killed run"])
def test_a_policy_that_was_there(machine, text, stays):
    if text is None:
        (machine / "hold").touch()
        killed = install_deps(machine, "test")
        until((machine / "installing").exists, "apt-get runs")
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=60)
        (machine / "hold").unlink()
        assert (machine / POLICY).exists()
    else:
        (machine / POLICY).write_text(text)
    install_deps(machine, "test").communicate(timeout=60)
    assert (machine / POLICY).exists() == stays
    assert not stays or (machine / POLICY).read_text() == text


@pytest.fixture
def meson(tmp_path):
    """A meson that writes down what it is asked, and the way of the Makefile's targets to it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/meson").write_text('#!/bin/sh\necho "$*" >>"$LOG"\nmkdir -p b && : >b/build.ninja\n')
    (tmp_path / "bin/meson").chmod(0o755)
    log = tmp_path / "log"

    def configure(*options):
        log.write_text("")
        subprocess.run([ROOT / "tools/configure", "b", *options], cwd=tmp_path, check=True,
                       env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "LOG": str(log)})
        return log.read_text().splitlines()

    return configure


def test_options_reach_a_build_directory_that_exists(meson):
    assert meson() == ["setup b"]
    assert meson() == []
    assert meson("--prefix=/opt/x") == ["configure b --prefix=/opt/x"]
    assert meson("--prefix=/opt/x") == [] and meson() == []
    assert meson("--prefix=/opt/x", "-Dcounters=false") == ["configure b --prefix=/opt/x -Dcounters=false"]


@pytest.mark.parametrize("target, named, wanted", [
    ("install", [], "--prefix=/usr/local"), ("install", ["PREFIX=/opt/x"], "--prefix=/opt/x"), ("build", [], ""), ("build", ["PREFIX=/opt/x"], "--prefix=/opt/x"),
])
def test_make_passes_the_prefix_on(target, named, wanted):
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MESON_ARGS", "PREFIX")}  # of a make that runs the tests
    said = subprocess.run(["make", "-n", target, *named], cwd=ROOT, capture_output=True, text=True, check=True, env=outside).stdout
    line = next(line for line in said.splitlines() if line.startswith("tools/configure"))
    assert line.split()[2:] == wanted.split()


def test_libraries_come_with_what_they_are_built_with():
    """Their packages have other names on the next Debian."""
    image = re.search(r"(?m)^image='([^']*)'", (ROOT / "tools/install-deps").read_text())[1].split()
    assert "skopeo" in image and not [p for p in image if p.startswith("lib")]


def test_the_demo_ends_without_a_directory(tmp_path):
    """It wrote a key into / then."""
    done = subprocess.run([ROOT / "tools/run-demo", "/bin/false"], env={**os.environ, "TMPDIR": f"{tmp_path}/none"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "none" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_mirror_in_either_format(tmp_path):
    """tools/make-chroot ended without a word where apt has only one of the two formats."""
    text = (ROOT / "tools/make-chroot").read_text()
    function = text[text.index("mirror() {"):text.index("\n}\n", text.index("mirror() {")) + 3].replace("/etc/apt", str(tmp_path))
    deb822 = "Types: deb\nURIs: http://example.org/debian\nSuites: bookworm\nComponents: main\n"
    one_line = "deb [signed-by=/x] http://example.org/debian bookworm main\n"
    others = deb822.replace("example", "other")
    good = "http://example.org/debian"
    for name, content, wanted in [
        ("a.sources", deb822, good), ("a.list", one_line, good), ("none", "", ""),
        ("a.sources", "".join(line + "\n" for line in reversed(deb822.splitlines())), good),
        ("a.sources", deb822.replace("URIs: ", "uris:\n\t").replace("Components: ", "components:\tcontrib "), good),
        ("a.sources", "# Types: deb\nEnabled: no\n" + others + "\n" + deb822, good), ("a.sources", others.replace("deb\n", "deb-src\n", 1) + "\n" + deb822, good),
        ("a.sources", others.replace("debian\n", "debian-security\n") + "\n" + deb822, good),
        ("a.sources", others.replace("http:", "mirror+file:"), ""), ("a.sources", others.replace("main", "mainline"), ""),
        ("a.list", "deb cdrom:[A disk]/ bookworm main\ndeb http://other.org/ bookworm non-free # main\n# deb http://other.org/ x main\n" + one_line, good),
        ("a.list", one_line.replace("/x", "/x arch=amd64"), good),
    ]:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        (tmp_path / name).write_text(content)
        done = subprocess.run(["bash", "-c", "set -Eeuo pipefail\n" + function + "mirror"], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, wanted, "")


def test_the_checklist_of_the_handshake_names_tests_that_exist():
    """docs/handshake-checks*.md: each rule once, each with a test, and each test in its file."""
    tests = ROOT / "tests"
    files = {f.name: f.read_text() for kind in ("unit", "e2e", "fuzz") for f in (tests / kind).iterdir() if f.is_file()}
    text = "".join(page.read_text() for page in sorted((ROOT / "docs").glob("handshake-*.md")))
    rows = re.findall(r"^\| ([SEKHPCRXN]\d+) \|.*$", text, re.M)
    counts = {"S": 13, "E": 15, "K": 6, "H": 7, "P": 15, "C": 9, "R": 10, "X": 4, "N": 5}
    assert sorted(rows) == sorted(f"{letter}{i + 1}" for letter, n in counts.items() for i in range(n))
    for line in text.splitlines():
        named = re.findall(r"`(\w+\.(?:c|py))(?::(\w+))?`", line)
        assert named or not re.match(r"\| [SEKHPCRXN]\d", line), line
        for file, name in named:
            assert re.search(rf"\b{name}\(", files[file]) if name else file in files, f"{file}: {name}"
