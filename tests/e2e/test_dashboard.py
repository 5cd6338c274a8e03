"""
The dashboard in headless Chromium: it shows correct values under load, survives the end of an observer and a reload, requests nothing from elsewhere, and can be used by keyboard, with a screen reader, on a phone and in the dark.
"""
import os
import re
import signal
import threading

import pytest

from support import backends
from support.browser import Browser, Keys
from support.clients import connect, context, free_port, receive
from support.proxy import SANITIZED
from support.waiting import DEADLINE, until

pytestmark = pytest.mark.skipif(SANITIZED, reason="what the page asks for has tests of its own, which run under sanitizers")

WIDTHS = (360, 390, 820, 1440)


@pytest.fixture
def p(parts):
    return parts.proxy(parts.backend(backends.echo), top={"workers": 2, "admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})


@pytest.fixture
def open_page(p, directory):
    """Opens the page and waits for its first data."""
    browsers = []

    def start(**options):
        b = Browser(directory / f"chromium{len(browsers)}", **options)
        browsers.append(b)
        b.open(url(p))
        live(b)
        return b

    yield start
    for b in browsers:
        b.end()


def url(p):
    return "http://%s:%d/" % p.admin.address


def live(b, deadline=DEADLINE):
    b.until("document.querySelector('#link').dataset.state === 'live'", "the page is live", deadline)


class Load:
    """Clients at addresses of their own, each in a session that echoes blocks until it is stopped."""

    def __init__(self, p, clients=6):
        self.p, self.stopping = p, threading.Event()
        self.moved = {f"127.0.2.{i + 1}": 0 for i in range(clients)}
        self.errors = []
        self.threads = [threading.Thread(target=self.run, args=(a, 20_000 * (clients - i))) for i, a in enumerate(self.moved)]
        for t in self.threads:
            t.start()

    def run(self, address, size):
        try:
            ctx = context()
            block = os.urandom(size)
            while not self.stopping.is_set():
                with connect(self.p.port, ctx, source=address) as c:
                    for _ in range(20):
                        c.sendall(block)
                        receive(c, len(block))
                        self.moved[address] += len(block)
                        if self.stopping.wait(0.05):
                            break
                    c.unwrap()
        except Exception as e:  # reported by the test's own thread
            self.errors.append(f"{address}: {e!r}")

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(DEADLINE)
        assert not self.errors, self.errors


@pytest.fixture
def load(p):
    one = Load(p)
    yield one
    one.stop()


def number(text):
    """12.3 MB -> 12300000.0; None for a dash."""
    m = re.match(r"([\d.,]+)\s*(k|M|G|T)?(B)?", text.replace("\u202f", " "))
    return float(m.group(1).replace(",", "")) * {None: 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[m.group(2)] if m else None


def stat(b, label):
    return b.js("return document.querySelector(`.stat[aria-label=\"${arguments[0]}\"] .big`).textContent", label)


def client_info(b):
    return dict(b.js("return [...document.querySelectorAll('#follow-details div')].map((e) => [e.children[0].textContent, e.children[1].textContent])"))


def painted(b, canvas):
    """How many pixels of a canvas are not empty."""
    return b.js("""const c = document.querySelector(arguments[0]); if (!c || !c.width) return 0;
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n;""", canvas)


def check_console(b):
    said = [m for m in b.console() if "willReadFrequently" not in m]  # that is about painted()
    assert not said, said


def test_under_load(p, open_page, load):
    b = open_page()
    b.until("document.querySelectorAll('#client-rows tr').length === 6", "six clients")
    b.until(lambda: (number(stat(b, "To clients")) or 0) > 1000, "throughput")
    b.until(lambda: painted(b, "#client-rows .spark") > 20, "a client's line")
    b.until(lambda: all(painted(b, f"#{chart} canvas") > 2000 for chart in ("throughput", "handshakes", "follow-chart")), "charts")
    b.until(lambda: all("p50" in t and "–" not in t.split("p99")[1] for t in b.texts(".quantiles")), "latencies")
    b.until(lambda: all(painted(b, f"#latency-{kind} canvas") > 1000 for kind in ("handshake", "connect", "firstByte")), "their charts")
    # the one that moves most stands first, and is shown as the busiest
    busiest = lambda: [b.text(css) for css in ("#client-rows .name-button", "#follow-title", "#follow-name")]
    b.until(lambda: busiest() == ["127.0.2.1", "Busiest client", "127.0.2.1"], "the busiest is first")
    assert b.text("#verdict-state") == "Serving"
    assert "web" in b.text("#service-list") and "up" in b.text("#service-list")
    roles = b.texts(".proc strong")
    assert {"supervisor", "observer", "handshaker", "relay"} <= set(roles) and roles.count("relay") == 2
    pids = set(map(int, re.findall(r"pid (\d+)", b.text("#process-picture"))))
    assert pids == set(p.pids())
    # when all is quiet the values are those that the clients counted
    load.stop()
    for address in ("127.0.2.1", "127.0.2.4"):
        b.click(f"[aria-label='Follow {address}']")
        for way in ("Received in all", "Sent in all"):
            b.until(lambda: abs(number(client_info(b)[way]) - load.moved[address]) <= load.moved[address] * 0.006, f"{way} of {address}")
    b.until(lambda: stat(b, "Sessions") == "0", "no session left")
    b.until(lambda: number(stat(b, "To clients")) == 0, "quiet")
    check_console(b)
    origin = url(p)
    asked = b.requests()
    assert len(asked) > 5 and not [u for u in asked if not u.startswith(origin)], asked


def test_the_policy_holds(p, open_page):
    """What an attacker would do with a flaw of the page is refused, and shows in the console that the other tests check."""
    b = open_page()
    check_console(b)
    b.js("""const s = document.createElement('script'); try { s.textContent = 'window.hacked = 1'; document.body.append(s); } catch {}
        const e = document.createElement('b'); e.setAttribute('style', 'color: red'); document.body.append(e);
        const i = new Image(); i.src = 'http://127.0.0.2:1/x.png'; document.body.append(i);
        fetch('http://127.0.0.2:1/').catch(() => { window.refused = true; });""")
    b.until("window.refused", "a request to elsewhere is refused")
    assert b.js("return window.hacked ?? null") is None
    said = "\n".join(b.console())
    for wanted in ("TrustedScript", "style-src", "img-src", "connect-src"):
        assert wanted in said, said


def test_sessions(p, open_page, load):
    b = open_page()
    b.until("document.querySelectorAll('#client-rows tr').length === 6", "six clients")
    b.js("document.querySelector('#sessions').scrollIntoView()")
    rows = lambda: b.js("return [...document.querySelectorAll('#session-rows tr')].map((r) => [...r.cells].map((c) => c.textContent))")
    b.until(lambda: len(rows()) >= 3, "sessions")
    for client, service, name, tls, backend, out, into, age in rows():
        assert client.rsplit(":", 1)[0] in load.moved and (service, name) == ("web", "localhost")
        assert tls == "TLS 1.3 AES-128-GCM" and backend.startswith("unix:") and number(out) >= 0 and number(into) >= 0
    b.click("#sessions-sort [data-value=age]")
    assert b.find("#sessions-sort [data-value=age]").get_attribute("aria-pressed") == "true"
    # those of the followed client alone
    b.click("[aria-label='Follow 127.0.2.5']")
    b.js("document.querySelector('#follow').scrollIntoView()")
    b.until(lambda: any("web · localhost" in t for t in b.texts("#follow-sessions li")), "its sessions")
    assert len(b.texts("#follow-sessions li")) <= 2
    check_console(b)


def test_following_a_client_by_keyboard(p, open_page, load):
    b = open_page()
    b.until("document.querySelectorAll('#client-rows tr').length === 6", "six clients")
    b.click("#client-filter")
    b.press("2.3")
    b.until("[...document.querySelectorAll('#client-rows .name-button')].map((e) => e.textContent).join() === '127.0.2.3'", "filtered")
    b.press(Keys.TAB)
    for _ in range(8):
        if "Follow" in b.focused():
            break
        b.press(Keys.TAB)
    assert b.focused() == "Follow 127.0.2.3"
    b.press(Keys.ENTER)
    b.until("document.querySelector('#follow-title').textContent === 'Followed client'", "followed")
    assert b.text("#follow-name") == "127.0.2.3" and b.js("return location.hash") == "#client=127.0.2.3"
    assert b.find("[aria-label='Follow 127.0.2.3']").get_attribute("aria-pressed") == "true"
    before = number(client_info(b)["Received in all"])
    b.until(lambda: number(client_info(b)["Received in all"]) > before, "its values change")
    # rows that move each second do not take the focus away
    assert b.focused() == "Follow 127.0.2.3"
    b.js("location.reload()")
    live(b)
    b.until("document.querySelector('#follow-name').textContent === '127.0.2.3'", "still followed after a reload of the page")
    b.press(Keys.ESCAPE)
    b.until("document.querySelector('#follow-title').textContent === 'Busiest client'", "not followed any more")
    assert b.js("return location.hash") == ""


def test_sorting(p, open_page, load):
    b = open_page()
    b.until("document.querySelectorAll('#client-rows tr').length === 6", "six clients")
    order = lambda: b.texts("#client-rows .name-button")
    b.click("th button[data-sort=client]")
    assert b.find("th button[data-sort=client]").find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    b.until(lambda: order() == sorted(load.moved), "by address")
    b.click("th button[data-sort=client]")
    b.until(lambda: order() == sorted(load.moved, reverse=True), "by address, falling")
    assert [e.get_attribute("aria-sort") for e in b.driver.find_elements("css selector", "#clients-box th[aria-sort]:not([aria-sort=none])")] == ["descending"]
    b.find("#client-filter").send_keys("nobody")
    b.until("!document.querySelector('#clients-empty').hidden", "a word when nothing matches")


def test_the_end_of_an_observer_is_no_end_for_the_page(p, open_page):
    p.allow_killed_roles = True
    b = open_page()
    points = b.js("return document.querySelector('#throughput .plot').getAttribute('aria-valuemax')")
    observer = p.roles()["observer"][0]
    os.kill(observer, signal.SIGKILL)
    says = b.until("document.querySelector('#link').dataset.state !== 'live' && document.querySelector('#link-text').textContent", "cut off")
    assert says in ("Reconnecting", "Connecting") or says.startswith("Lost")
    live(b)
    b.until(lambda: str(p.roles()["observer"][0]) in b.text("#process-picture"), "the new observer's figures")
    assert p.roles()["observer"][0] != observer
    b.until("document.body.dataset.stale === undefined", "not faint any more")
    b.until(lambda: "observer was restarted" in b.text("#findings"), "reported as a finding")
    # what the page knew it still knows
    assert int(b.js("return document.querySelector('#throughput .plot').getAttribute('aria-valuemax')")) >= int(points or 0)
    assert not [m for m in b.console() if "ERR_" not in m and "Failed to load" not in m]


def test_a_reload_reconnects(p, open_page, load):
    b = open_page()
    assert "generation 0" in b.text("#processes-note") or "generation 1" in b.text("#processes-note")
    before = b.text("#processes-note").rsplit(" ", 1)[1]
    p.signal(signal.SIGHUP)
    b.until(lambda: b.text("#processes-note").rsplit(" ", 1)[1] == str(int(before) + 1), "the next generation")
    live(b)
    b.until("document.querySelector('#version').textContent.includes('reloaded')", "reported beside the version")
    b.until(lambda: (number(stat(b, "To clients")) or 0) > 1000, "throughput goes on")
    load.stop()


def test_without_an_observer_the_page_says_so(p, open_page):
    p.allow_killed_roles = True
    b = open_page()
    observer = p.roles()["observer"][0]
    os.kill(observer, signal.SIGSTOP)
    try:
        b.until("document.body.dataset.stale !== undefined", "faint", DEADLINE)
        b.until(lambda: b.text("#link-text").startswith("Lost ") and b.text("#verdict-state") == "No connection", "said in words")
        b.until("document.title.startsWith('! ')", "reported in the title")
    finally:
        try:
            os.kill(observer, signal.SIGCONT)
        except ProcessLookupError:
            pass  # the supervisor has given it up
    live(b)
    b.until("document.body.dataset.stale === undefined && document.querySelector('#verdict-state').textContent === 'Serving'", "well again")


def test_keyboard_and_names(p, open_page, load):
    b = open_page()
    b.until("document.querySelectorAll('#client-rows tr').length === 6", "six clients")
    bare, named = b.unnamed()
    assert not bare and named > 40, (bare, named)
    b.js("const e = document.createElement('button'); e.id = 'bare'; document.querySelector('main').append(e)")
    assert b.unnamed()[0], "the look sees a button without a name"
    b.js("document.querySelector('#bare').remove()")
    assert b.js("return document.documentElement.lang") == "en"
    assert len(b.texts("h1")) == 1 and b.js("return [...document.querySelectorAll('main')].length") == 1
    # every control is reached by the tab key alone, in the order of the page
    reached = []
    for _ in range(80):
        b.press(Keys.TAB)
        place = b.js("const r = document.activeElement.getBoundingClientRect(); return document.activeElement === document.body ? null : [document.activeElement.tagName, r.top + scrollY]")
        if place is None:
            break
        reached.append(b.focused())
        assert b.js("const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2"), b.focused()
    assert reached[0].startswith("Skip to")
    in_order = [w for w in reached if w in ("1 minute", "1 hour", "theme", "Throughput over time", "Handshakes over time", "client-filter")]
    assert in_order == ["1 minute", "1 hour", "theme", "Throughput over time", "Handshakes over time", "client-filter"], reached
    assert set(f"Follow {a}" for a in load.moved) <= set(reached)
    b.js("location.reload()")
    live(b)
    b.press(Keys.TAB, Keys.ENTER)
    assert b.focused() == "main", "the first link skips what is above the figures"
    # a chart's cursor moves by arrows, and announces what it points at
    b.until("Number(document.querySelector('#throughput .plot').getAttribute('aria-valuemax')) >= 3", "some seconds to point at")
    b.js("document.querySelector('#throughput .plot').focus()")
    b.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    b.until("document.querySelector('#throughput .plot').hasAttribute('aria-valuetext')", "words")
    words = b.js("return document.querySelector('#throughput .plot').getAttribute('aria-valuetext')")
    assert re.match(r"\d\d:\d\d:\d\d: to clients .*B/s, from clients .*B/s", words), words
    assert re.match(r"\d\d:\d\d:\d\d", b.text("#throughput .when"))


def test_theme_is_chosen_and_remembered(p, open_page):
    b = open_page(theme="light")
    color = lambda: b.js("return getComputedStyle(document.body).backgroundColor")
    light = color()
    b.theme("dark")
    b.until(lambda: color() != light, "dark as the system is")
    dark = color()
    b.click("#theme")
    assert color() == light and b.find("#theme").get_attribute("aria-label") == "Theme: light"
    b.js("location.reload()")
    live(b)
    assert color() == light, "remembered"
    b.click("#theme")
    b.theme("light")
    assert color() == dark and b.find("#theme").get_attribute("aria-label") == "Theme: dark"
    b.click("#theme")
    assert color() == light and b.find("#theme").get_attribute("aria-label") == "Theme: as the system"
    check_console(b)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_and_width(p, open_page, load, theme):
    b = open_page(theme=theme)
    b.until("document.querySelectorAll('#client-rows tr').length === 6", "six clients")
    for width in WIDTHS:
        b.resize(width, 800)
        b.until(f"innerWidth === {width}", "resized")
        assert b.js("return document.documentElement.scrollWidth") <= width, f"scrolls sideways at {width}"
        assert not b.js("""return [...document.querySelectorAll('main *')].filter((e) => { const r = e.getBoundingClientRect();
            return r.width > 0 && r.right > innerWidth + 1 && !e.closest('.plot, .hidden'); }).map((e) => e.tagName + '.' + e.className).slice(0, 5)"""), width
        assert not b.contrast(), width
    check_console(b)
    # the looks are no looks if they see nothing
    b.js("document.documentElement.style.setProperty('--muted', getComputedStyle(document.querySelector('.panel')).backgroundColor)")
    assert b.contrast()


def test_nothing_jumps(p, open_page, load):
    b = open_page()
    b.until("document.querySelectorAll('#client-rows tr').length === 6", "six clients")
    b.js("""window.moved = []; new PerformanceObserver((list) => { for (const e of list.getEntries()) window.moved.push([e.value, e.sources.map((s) => s.node?.id || s.node?.className || s.node?.nodeName)]); })
        .observe({ type: 'layout-shift', buffered: false });
        window.ticks = 0; new MutationObserver(() => window.ticks++).observe(document.querySelector('#throughput .legend'), { subtree: true, childList: true, characterData: true });""")
    b.until("window.ticks >= 6", "seconds passed")
    total = "return window.moved.reduce((s, [v]) => s + v, 0)"
    assert b.js(total) < 0.02, b.js("return window.moved")
    b.js("const e = document.createElement('div'); e.style.height = '300px'; document.querySelector('main').prepend(e)")
    b.until(lambda: b.js(total) > 0.02, "the look sees what jumps")


def test_a_new_page_begins_with_what_was(p, open_page, load):
    until(lambda: len(p.admin.json("/status.json")["history"]["bytes_in"]) >= 8, "seconds kept")
    b = open_page()
    b.until("document.querySelector('#throughput .plot').hasAttribute('aria-valuemax')", "a chart")
    assert int(b.js("return document.querySelector('#throughput .plot').getAttribute('aria-valuemax')")) >= 6


def test_one_certificate_of_many_services_hides_no_other(parts, directory):
    soon, next_one = (parts.pki.leaf(name, "p256", [name], days=days) for name, days in (("shared.test", 10), ("other.test", 12)))
    backend, here = parts.backend(), [f"127.0.0.1:{free_port()}"]
    services = {f"s{i}": parts.service(backend, listen=here, names=[f"s{i}.test"], certificates=[soon]) for i in range(120)}
    services["last"] = parts.service(backend, listen=here, names=["other.test"], certificates=[next_one])
    p = parts.proxy(services=services, top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})
    b = Browser(directory / "chromium")
    try:
        b.open(url(p))
        b.until(lambda: "shared.test (120 services)" in b.text("#findings") and "other.test expires" in b.text("#findings"), "both certificates are findings")
    finally:
        b.end()
