// Runs before the page is painted, so that a remembered theme does not flash. Light, dark, or what the system says.
const remembered = (() => {
    try {
        return localStorage.getItem("tls-off.theme");
    } catch {
        return null; // storage may be forbidden
    }
})();
if (remembered === "light" || remembered === "dark")
    document.documentElement.dataset.theme = remembered;

export {};
