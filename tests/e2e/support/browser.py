"""Headless Chromium, driven through ChromeDriver: a page as people see it, and what the browser reports about it."""
import base64
import json
import os
import pathlib
import sys
import time

from .waiting import DEADLINE, TooLate

sys.path.append("/usr/lib/python3/dist-packages")  # where Debian's package puts it, for another python3

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
# The browser itself must not contact any host.
QUIET = ["--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-breakpad", "--disable-crash-reporter",
         "--disable-dev-shm-usage", "--disable-features=Translate,OptimizationHints,MediaRouter", "--hide-scrollbars"]

# Contrast of every visible text with what lies behind it (WCAG 2.1, 1.4.3).
CONTRAST = """
const rgb = (t) => (t.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const over = (a, b) => { const k = a.length > 3 ? a[3] : 1; return [0, 1, 2].map((i) => a[i] * k + b[i] * (1 - k)); };
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { const stack = []; for (; e; e = e.parentElement) stack.push(rgb(getComputedStyle(e).backgroundColor)); return stack.reverse().reduce((c, a) => over(a, c), [255, 255, 255]); };
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
    if (!walk.currentNode.textContent.trim() || r.width < 2 || r.height < 2 || s.visibility === "hidden" || e.closest(".hidden, .skip, script, noscript"))
        continue;
    const a = light(over(rgb(s.color), behind(e))), b = light(behind(e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(s.fontSize), large = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5))
        found.push(`${walk.currentNode.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)} (${s.color})`);
}
return found;
"""


class Browser:
    """One window. DIRECTORY is its own, and is removed with the test."""

    def __init__(self, directory, width=1440, height=900, theme="light"):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True)
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        flags = QUIET + [f"--user-data-dir={directory}", f"--window-size={width},{height}"] + (["--no-sandbox"] if os.getuid() == 0 else [])
        for flag in flags:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(DRIVER), options=options)
        self.driver.set_script_timeout(DEADLINE)
        self.driver.set_page_load_timeout(DEADLINE)
        self.asked = []
        self.resize(width, height)
        self.theme(theme)

    def end(self):
        self.driver.quit()

    # --- how it is looked at

    def resize(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)

    def theme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def open(self, url):
        self.driver.get(url)

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def click(self, css):
        """In the middle of the window, where nothing that sticks to an edge lies over it."""
        self.js("document.querySelector(arguments[0]).scrollIntoView({ block: 'center' })", css)
        self.find(css).click()

    def text(self, css):
        return self.js("return document.querySelector(arguments[0])?.textContent ?? null", css)

    def texts(self, css):
        return self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", css)

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        """What has the focus, as its id, or its label or text."""
        return self.js("const e = document.activeElement; return e.id || e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40)")

    def until(self, condition, what, deadline=DEADLINE):
        """Waits for a JavaScript expression to be true, or for a function; its value."""
        end = time.monotonic() + deadline
        while True:
            value = condition() if callable(condition) else self.js(f"return ({condition})")
            if value:
                return value
            if time.monotonic() > end:
                raise TooLate(f"{what}: {condition}\n{self.js('return document.body.innerText')[:3000]}\n{self.console()}")
            time.sleep(0.1)

    def screenshot(self, path, whole=True):
        height = self.js("return document.documentElement.scrollHeight") if whole else self.js("return innerHeight")
        width = self.js("return innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        picture = self.cdp("Page.captureScreenshot", captureBeyondViewport=whole, clip=clip)
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))

    # --- what it reports

    def console(self):
        """Messages since the last call: errors of scripts, violations of the policy, failed loads."""
        return [f"{e['level']} {e['message']}" for e in self.driver.get_log("browser")]

    def requests(self):
        """URLs the page has asked for, from its opening on."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.requestWillBeSent":
                continue
            asked = message["params"]["request"]["url"]
            if not asked.startswith(("chrome", "data:")):  # pages of the browser's own; what is no request
                self.asked.append(asked)
        return self.asked

    def unnamed(self):
        """Controls, pictures and regions without a name for people who do not see the page; and how many have one."""
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        wanted = {"button", "link", "searchbox", "textbox", "slider", "image", "region", "group", "heading", "columnheader", "navigation"}
        named, bare = 0, []
        for n in nodes:
            role = n.get("role", {}).get("value", "")
            if n.get("ignored") or role not in wanted:
                continue
            if n.get("name", {}).get("value", "").strip():
                named += 1
            elif role != "group":
                bare.append(f"{role} {n.get('backendDOMNodeId')}")
        return bare, named

    def contrast(self):
        """Texts that are too faint."""
        return self.js(CONTRAST)


__all__ = ["Browser", "Keys"]
