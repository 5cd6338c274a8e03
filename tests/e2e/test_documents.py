"""The manual: every command on its pages is executed, every configuration is checked.

A block of commands says what runs it: `sh` are run here, in their order, on a machine like that of the manual; `sh package` by
tools/test-deb; `sh make` are targets of the Makefile; `sh issuer` by test_acme.py, which has an issuer. A `script` is a file of the reader's. A block without a word is something to look at, not to type."""
import os
import pathlib
import re
import subprocess
import tomllib

import pytest

from support.proxy import BINARY, SANITIZED

ROOT = pathlib.Path(__file__).parents[2]
DEVELOPERS = {"ARCHITECTURE.md", "code-map.md", "HACKING.md", "walk.md", "connections.md", "credentials.md", "traffic.md", "hand-over-format.md", "session-format.md",
              "handshake-checks.md", "handshake-checks-keys.md", "handshake-clients.md", "handshake-hostile.md", "testing.md", "extending.md", "dependencies.md", "observer.md"}
BEGINNINGS = {"start.md", "server.md"}  # they start it themselves
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in DEVELOPERS)]
BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.M)
COMMANDS = re.compile(r"^(\$ |sudo |tls-off |make |curl |apt|systemctl |openssl )", re.M)


def blocks(page, kind):
    return [text for word, text in BLOCK.findall(page.read_text()) if word == kind]


def ids(pages):
    return [p.name for p in pages]


def with_blocks(kind):
    return [p for p in PAGES if blocks(p, kind)]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: namespaces, port 443")
@pytest.mark.skipif(SANITIZED, reason="each command has tests of its own, which run under sanitizers")
@pytest.mark.parametrize("page", with_blocks("sh"), ids=ids(with_blocks("sh")))
def test_every_command_of_a_page_works(page, tmp_path):
    files = []
    for n, text in enumerate(blocks(page, "sh")):
        files.append(tmp_path / f"block{n}.sh")
        files[-1].write_text(text)
    done = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "bash",
                           ROOT / "tests/e2e/support/server_in_namespaces.sh", BINARY, ROOT, tmp_path / "machine",
                           "bare" if page.name in BEGINNINGS else "running", *files],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170)
    assert done.returncode == 0, f"{page.name}: the block that failed is the last one named:\n{done.stdout}"


@pytest.mark.parametrize("page", with_blocks("sh package"), ids=ids(with_blocks("sh package")))
def test_commands_about_the_package_are_those_of_its_test(page):
    tests = (ROOT / "tools/test-deb").read_text() + "".join(p.read_text() for p in (ROOT / "debian/tests").iterdir())
    for text in blocks(page, "sh package"):
        for line in text.splitlines():
            tool, action = re.fullmatch(r"sudo apt (install) \./dist/(tls-off_\*\.deb)", line).groups()
            assert re.search(rf"{tool} .*dist/{re.escape(action)}", tests)


@pytest.mark.parametrize("page", with_blocks("sh issuer"), ids=ids(with_blocks("sh issuer")))
def test_commands_about_issuers_are_those_of_their_test(page):
    tests = (ROOT / "tests/e2e/test_acme.py").read_text()
    for word in re.findall(r"(?<= )(?:--[a-z-]+|(?<=acme )[a-z]+)", " ".join(blocks(page, "sh issuer"))):
        assert f'"{word}' in tests, word


@pytest.mark.parametrize("page", with_blocks("sh make"), ids=ids(with_blocks("sh make")))
def test_targets_are_those_of_the_makefile(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for text in blocks(page, "sh make"):
        for line in text.splitlines():
            assert re.match(r"make ([a-z-]+)", line)[1] in targets, line


@pytest.mark.parametrize("page", with_blocks("toml"), ids=ids(with_blocks("toml")))
def test_every_configuration_is_one(page, tmp_path):
    """`check` knows every key and value; files and users of the example need not be there. A part of a file follows what is before it."""
    before = '[service.before]\nlisten = ["0.0.0.0:443"]\nnames = ["before.example"]\nbackends = ["unix:/run/app.sock"]\n'
    issuer = 'acme = { issuers = ["before"], names = ["before.example"] }\n[acme.issuer.before]\ndirectory = "https://issuer.example/dir"\nterms_accepted = true\nchallenges = ["http-01"]\n'
    for text in blocks(page, "toml"):
        whole = "[service." in text and re.search(r"^listen\b", text, re.M)
        text = text if whole else before + (issuer if "[acme" in text else "") + text
        tomllib.loads(text)
        done = subprocess.run([BINARY, "check", "-"], input=text, capture_output=True, text=True, timeout=60)
        faults = [line for line in done.stderr.splitlines()
                  if "warning:" not in line and not re.search(r"cannot be (opened|read)|no user|a user that this machine has|is in use by|may not listen on|cannot be bound|No such file", line)]
        assert not faults, text + "\n".join(faults)


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_no_command_goes_unnoticed(page):
    for word, text in BLOCK.findall(page.read_text()):
        assert word in ("sh", "sh package", "sh make", "sh issuer", "script", "toml") or not COMMANDS.search(text) or text.startswith("$ "), f"a block without a word:\n{text}"


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md"), *(p for p in (ROOT / "contrib").rglob("*.md") if "node_modules" not in p.parts)]),
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_section_finds_it(page):  # whether files are there is seen by tools/check-style
    for path, anchor in re.findall(r"\]\(([^)#\s:]*\.md)?#([^)\s]+)\)", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)):
        assert anchor in anchors(page.parent / path if path else page), f"{path}#{anchor}"


def test_manual_pages_are_well_formed():
    pages = sorted((ROOT / "docs").glob("*.[58]"))
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, timeout=60)
    assert pages and done.returncode == 0, done.stdout + done.stderr
