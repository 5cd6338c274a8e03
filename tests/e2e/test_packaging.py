"""What the package promises beyond its own tests (debian/tests): names that must agree with the source, and files that tools read."""
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
HIREDIS = "${tls-off:hiredis}"  # debian/rules: by the soname of the build, as the tool of below lists it
CONTROL = (ROOT / "debian/control").read_text()
PROFILE = ROOT / "contrib/apparmor/tls-off"


def field(name):
    """The packages of a field, by their alternatives."""
    text = re.search(rf"(?m)^{name}: (.*(?:\n .*)*)", CONTROL)[1]
    soname = next(library for library in libraries() if library.startswith("libhiredis.so."))
    text = text.replace(HIREDIS, soname.replace(".so.", "", 1))
    return [[re.sub(r"\s*[(\[<].*", "", a).strip() for a in one.split("|")] for one in text.split(",") if one.strip()]


def libraries():
    return subprocess.run([ROOT / "tools/libraries-at-run-time"], capture_output=True, text=True, check=True, timeout=60).stdout.split()


def package_of(library):
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True, timeout=60).stdout
    path = pathlib.Path(re.search(rf"{re.escape(library)} .*=> (\S+)", listed)[1])
    for name in (path, pathlib.Path("/usr" + str(path)), path.resolve()):
        owner = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True, check=False, timeout=60)
        if owner.returncode == 0:
            return owner.stdout.split(":")[0]
    raise AssertionError(f"{path} belongs to no package")


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no dpkg here")
def test_every_library_that_is_opened_at_run_time_is_asked_for():
    asked = [alternative for name in ("Depends", "Recommends") for alternatives in field(name) for alternative in alternatives]
    wanted = {package_of(library) for library in libraries()}
    assert len(wanted) >= 6  # brotli, curl, hiredis, idn2, microhttpd, ncurses, zlib, zstd
    assert wanted <= set(asked), wanted - set(asked)


def test_the_list_of_libraries_has_each_call():
    """A soname in the source that is opened in a way the list does not see would go unnoticed."""
    text = "".join(p.read_text() for p in (ROOT / "src").rglob("*.c") if p.name != "doctor_machine.c")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    named = set(re.findall(r'"(lib[\w.-]+\.so\.[\d.]+)"', text))
    assert named <= set(libraries())
    assert len(re.findall(r"\bdlopen\(", text)) == 1, "libraries are opened by dlopen_open() alone"


def test_what_is_recommended_is_described_and_opened():
    opened = {package_of(library) for library in libraries()}
    for alternatives in field("Recommends"):
        assert opened & set(alternatives), f"{alternatives}: nothing of it is opened"


def test_the_versions_agree():
    meson = re.search(r"(?m)^  version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    assert (ROOT / "debian/changelog").read_text().startswith(f"tls-off ({meson})")
    assert re.search(rf"(?m)^## \[?{re.escape(meson)}\b", (ROOT / "CHANGELOG.md").read_text())


def test_nothing_of_lintian_is_overridden():
    assert not list((ROOT / "debian").rglob("*lintian-overrides*"))
    assert "lintian --allow-root --fail-on error,warning" in (ROOT / "tools/build-deb").read_text()


@pytest.mark.skipif(not shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin"), reason="no apparmor_parser here")
@pytest.mark.parametrize("mode", ["enforced", "complain"])
def test_the_apparmor_profile_compiles(tmp_path, mode):
    (tmp_path / "tls-off").write_text(PROFILE.read_text())
    how = ["-C"] if mode == "complain" else []  # as the link in force-complain does
    done = subprocess.run(["/usr/sbin/apparmor_parser", "-Q", "-K", *how, tmp_path / "tls-off"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"(?i)error|warning from", done.stderr), done.stderr


def test_no_tool_has_to_edit_the_apparmor_profile():
    """It is a file of the package, and aa-enforce would change its flags; the mode is a link beside it."""
    assert re.search(r"(?m)^profile tls-off flags=\((.*)\) \{", PROFILE.read_text())[1] == "attach_disconnected, mediate_deleted"
    script = (ROOT / "debian/tls-off.postinst").read_text()
    assert script.index("/etc/apparmor.d/force-complain/tls-off") < script.index("#DEBHELPER#"), "before the profile is loaded"


def test_the_service_may_read_what_init_names():
    """`init`, which an operator runs, looks for certificates in more places than the service has by default."""
    source = (ROOT / "src/cli/found.c").read_text()
    usual, at_home = (re.findall(r'"([^"]+)"', re.search(rf"(?s)\*const {name}\[\] = \{{(.*?)\}};", source)[1]) for name in ("usual", "at_home"))
    assert len(usual) >= 10 and len(at_home) >= 3
    covered = ("/etc/tls-off/", "/etc/letsencrypt/live", "/etc/ssl/")  # by lines of their own, and by abstractions
    for place in [p for p in usual if not p.startswith(covered)] + [f"/root/{p}" for p in at_home]:
        assert f"  {place}/{{,**}} r,\n" in PROFILE.read_text()
    assert "ProtectHome=read-only\n" in (ROOT / "contrib/systemd/tls-off.service.in").read_text()


def test_logs_of_instances_are_rotated_too():
    """In the directories that the units have."""
    rotated = re.search(r"(?m)^(/.*) \{", (ROOT / "debian/tls-off.logrotate").read_text())[1].split()
    named = re.findall(r"'directory': '([^']+)'", (ROOT / "contrib/systemd/meson.build").read_text())
    assert len(named) == 2 and sorted(f"/var/log/{name.replace('%i', '*')}/*.log" for name in named) == sorted(rotated)


def test_the_apparmor_profile_is_that_of_the_unit():
    unit = (ROOT / "contrib/systemd/tls-off.service.in").read_text()
    text = PROFILE.read_text()
    assert "AppArmorProfile=-tls-off\n" in unit and re.search(r"(?m)^profile tls-off flags=", text)
    may = {c.removeprefix("CAP_").lower() for line in re.findall(r"(?m)^CapabilityBoundingSet=(.*)$", unit) for c in line.split()}
    assert set(re.findall(r"(?m)^  capability (\w+),$", text)) == may
    for directory in ("/var/lib/tls-off", "/run/tls-off", "/var/log/tls-off"):
        assert f"{directory}{{,-*}}/** " in text
    assert "  /run/systemd/resolve/io.systemd.Resolve rw," in text  # which the sandbox of those that look up names allows
    assert "  /usr/sbin/tls-off mrix," in text and "  include if exists <local/tls-off>" in text
    assert "dh_apparmor --profile-name=tls-off -ptls-off" in (ROOT / "debian/rules").read_text()


def test_keys_that_documents_name_are_keys():
    """`section.key` in the documents; names of source files look alike."""
    table = re.findall(r'(?m)^ *K\(KEY_\w+, *"([^"]+)"', (ROOT / "src/conf/key_table.h").read_text())
    keys = {tuple(path.split(".")[-2:]) for path in table if "." in path}
    sections = {section for section, _ in keys} - {"*"}
    assert {"log", "admin", "acme", "limits"} <= sections and ("log", "target") in keys
    wrong = [f"{document.name}: {section}.{key}" for document in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md")
             for section, key in re.findall(r"`(\w+)\.(\w+)`", document.read_text())
             if section in sections and key not in ("c", "h") and (section, key) not in keys]
    assert not wrong, wrong
