"""The dashboard's files as the observer serves them: whole, compressed, kept by browsers no longer than they are right, and fenced in."""
import gzip
import re

import pytest

from support.proxy import ROOT

DIST = ROOT / "dashboard" / "dist"
FILES = {"/": "index.html", "/app.js": "app.js", "/app.css": "app.css", "/theme.js": "theme.js", "/icon.svg": "icon.svg"}


@pytest.fixture
def p(parts):
    return parts.proxy(parts.backend(), top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})


def test_files_are_those_of_the_tree(p):
    for path, name in FILES.items():
        wanted = (DIST / name).read_bytes()
        for tcp in (False, True):
            plain = p.admin.ask(path, tcp=tcp)
            assert plain.status == 200 and plain.body == wanted and "Content-Encoding" not in plain.headers
            packed = p.admin.ask(path, tcp=tcp, headers={"Accept-Encoding": "gzip, deflate, br"})
            assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body) == wanted
            assert len(packed.body) < len(wanted) * 0.6 or len(wanted) < 1000
            head = p.admin.ask(path, method="HEAD", tcp=tcp)
            assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(len(wanted))
    assert p.admin.ask("/").headers["Content-Type"] == "text/html; charset=utf-8"
    assert p.admin.ask("/app.js").headers["Content-Type"].startswith("text/javascript")


def test_headers_fence_the_page_in(p):
    for path in FILES:
        headers = p.admin.ask(path, tcp=True).headers
        policy = {d.split()[0]: d.split()[1:] for d in headers["Content-Security-Policy"].split(";")}
        assert policy["default-src"] == ["'none'"] and policy["frame-ancestors"] == ["'none'"] and policy["base-uri"] == ["'none'"]
        for kind in ("script-src", "style-src", "connect-src"):
            assert policy[kind] == ["'self'"], kind
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"


def test_a_browser_asks_and_gets_it_again_only_when_it_changed(p):
    for path in FILES:
        first = p.admin.ask(path)
        assert first.headers["Cache-Control"] == "no-cache" and first.headers["Vary"] == "Accept-Encoding"
        tag = first.headers["ETag"]
        for header in (tag, "W/" + tag, '"x", ' + tag, "*"):
            again = p.admin.ask(path, headers={"If-None-Match": header, "Accept-Encoding": "gzip"})
            assert again.status == 304 and again.body == b"" and again.headers["ETag"] == tag
            assert "Content-Encoding" not in again.headers
        assert p.admin.ask(path, headers={"If-None-Match": '"other"'}).status == 200


def test_no_other_paths(p):
    for path in ("/index.html", "/app.js/", "//app.js", "/./app.js", "/../app.js", "/%2e%2e/app.js", "/APP.JS", "/dist/app.js", "/favicon.ico"):
        assert p.admin.ask(path).status in (400, 404), path
    assert p.admin.ask("/app.js", method="POST").status == 405


def test_the_page_asks_nobody_else():
    """No address of elsewhere in any file; names of XML vocabularies are no addresses."""
    for name in FILES.values():
        text = (DIST / name).read_text()
        assert not [u for u in re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'`)]*", text) if "www.w3.org/" not in u], name
    html = (DIST / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", html)
