"""Completions, by running the shells: what they offer is what the commands' own help says."""
import os
import pty
import re
import shutil
import subprocess
import time

import pytest

from support.proxy import BINARY, command
from support.waiting import DEADLINE

SHELLS = ["bash", "zsh", "fish"]


def commands():
    """{name: its flags}, from the help texts."""
    status, out, _ = command("--help")
    assert status == 0
    names = re.findall(r"^  ([a-z-]+) +\S", out, re.M)
    helps = {name: re.sub(r"`[^`]*`", "", command(name, "--help")[1]) for name in names}  # without what it says of other commands
    return {name: set(re.findall(r"(?<![\w-])--[a-z-]+", text)) | {"--help"} for name, text in helps.items()}


@pytest.fixture
def shell(tmp_path):
    """A directory with our binary and some files, and the completions of all shells."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tls-off").symlink_to(BINARY)
    (tmp_path / "work").mkdir()
    for name in ("config.toml", "with blank.toml"):
        (tmp_path / "work" / name).touch()
    for name in SHELLS:
        status, out, err = command("completion", name)
        assert status == 0 and not err
        (tmp_path / ("_tls-off" if name == "zsh" else name)).write_text(out)
    environment = dict(os.environ, PATH=f"{tmp_path}/bin:/usr/bin:/bin", HOME=str(tmp_path), TERM="dumb", XDG_CONFIG_HOME=str(tmp_path))
    return tmp_path, environment


def by_bash(shell, *words, before_cursor=None):
    home, environment = shell
    arguments = "" if before_cursor is None else f' tls-off "{before_cursor}" tls-off'
    script = f'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tls_off{arguments}; printf "%s\\n" "${{COMPREPLY[@]}}"; complete -p tls-off >&2'
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", home / "bash", "tls-off", *words], env=environment, cwd=home / "work",
                          capture_output=True, text=True, check=True)
    assert "-F _tls_off tls-off" in done.stderr
    return {line for line in done.stdout.split("\n") if line}


def by_fish(shell, *words):
    home, environment = shell
    line = " ".join(["tls-off", *words])
    done = subprocess.run(["fish", "--no-config", "-c", f'source {home}/fish; complete -C "{line}"'], env=environment, cwd=home / "work",
                          capture_output=True, text=True, check=True)
    assert not done.stderr
    return {entry.split("\t")[0] for entry in done.stdout.split("\n") if entry}


def by_zsh(shell, *words):
    """At a terminal, with the matches listed between two marks: zsh completes nowhere else."""
    home, environment = shell
    setup = (f"PROMPT=; RPROMPT=; unsetopt zle_bracketed_paste prompt_sp; fpath=({home} $fpath); autoload -U compinit; compinit -u -D; "
             "zstyle ':completion:*' list-colors; LISTMAX=10000; "
             # every match goes to a file; compadd's own options stay as they are
             f"compadd() {{ local -a found; builtin compadd -O found \"$@\"; print -rl -- $found >>{home}/found; builtin compadd \"$@\"; }}; "
             f"report() {{ zle list-choices; : >{home}/done }}; zle -N report; bindkey '^T' report; : >{home}/ready\n")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(home / "work")
        os.execve("/usr/bin/zsh", ["zsh", "-f", "-i"], environment)
    try:
        os.write(terminal, setup.encode())
        wait_for(home / "ready", terminal)
        os.write(terminal, (" ".join(["tls-off", *words]) + "\x14").encode())
        wait_for(home / "done", terminal)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)
    found = home / "found"
    lines = found.read_text().split("\n") if found.exists() else []
    for name in ("found", "done", "ready"):
        (home / name).unlink(missing_ok=True)
    return {line for line in lines if line}


def wait_for(path, terminal):
    """Reads what the terminal shows meanwhile, so that nobody waits for a reader."""
    os.set_blocking(terminal, False)
    end = time.monotonic() + DEADLINE
    shown = b""
    while not path.exists():
        try:
            shown += os.read(terminal, 65536)
        except BlockingIOError:
            pass
        assert time.monotonic() < end, shown.decode(errors="replace")
        time.sleep(0.01)


OFFERS = {"bash": by_bash, "zsh": by_zsh, "fish": by_fish}


@pytest.fixture(params=SHELLS)
def offers(request, shell):
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param} here")
    return lambda *words: OFFERS[request.param](shell, *words)


def test_commands(offers):
    assert set(commands()) | {"config.toml"} <= offers("")
    assert offers("re") == {"reload"}


def test_flags_are_those_of_the_help(offers):
    for name, flags in commands().items():
        assert {flag for flag in offers(name, "--") if flag.startswith("--")} == flags, name


def test_values(offers):
    assert offers("clients", "--sort", "") == {"bytes", "rate", "sessions", "failed", "client"}
    assert offers("acme", "ro") == {"rollover"}
    assert offers("completion", "") >= set(SHELLS)


def test_values_behind_an_equals_sign(shell):
    for name, words in (("bash", ["--sort", "="]), ("zsh", ["--sort="]), ("fish", ["--sort="])):
        if shutil.which(name):
            said = {word.removeprefix("--sort=") for word in OFFERS[name](shell, "clients", *words)}
            assert said == {"bytes", "rate", "sessions", "failed", "client"}, name
    for name, words in (("bash", ["--admin", "=", "con"]), ("zsh", ["--admin=con"]), ("fish", ["--admin=con"])):
        if shutil.which(name):
            assert {word.removeprefix("--admin=") for word in OFFERS[name](shell, "status", *words)} == {"config.toml"}, name


def test_words_of_a_command_come_first(offers):
    """They are what it does: elsewhere they would be refused."""
    assert not offers("acme", "renew", "re") & {"renew", "revoke", "record"}
    assert "zsh" not in offers("completion", "bash", "z")


def test_a_value_that_is_the_name_of_another_command(offers):
    assert {flag for flag in offers("check", "status", "--") if flag.startswith("--")} == commands()["check"]


def test_nothing_but_files_behind_two_dashes(offers):
    assert not any(word.startswith("--") for word in offers("check", "--", "--"))
    assert offers("check", "--", "con") == {"config.toml"}


def test_files(offers):
    assert {"config.toml", "with blank.toml"} <= {name.replace("\\", "") for name in offers("check", "")}
    assert offers("run", "--config", "con") == {"config.toml"}
    assert "config.toml" not in offers("stop", "")


def test_a_cursor_within_a_word(shell):
    """bash has the whole word in COMP_WORDS, and replaces what is before the cursor."""
    assert by_bash(shell, "staxx", before_cursor="sta") == {"status"}
    assert by_bash(shell, "check", '"with bl', before_cursor="with bl") == {"with blank.toml"}


def test_wrong_usage():
    for wrong in ([], ["tcsh"], ["bash", "zsh"], ["--no-such"]):
        status, out, err = command("completion", *wrong)
        assert status == 2 and not out and err.startswith("tls-off completion: ") and "\nusage: tls-off completion" in err
