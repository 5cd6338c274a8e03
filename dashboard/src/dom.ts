// Small helpers: elements, texts that are touched only when they change, lists that keep their rows.

type Attributes = Record<string, string | number | boolean | null | undefined>;
type Child = Node | string | null;

export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
    const e = document.createElement(tag);
    set(e, attributes);
    e.append(...children.filter((c): c is Node | string => c !== null));
    return e;
}

export function set(e: Element, attributes: Attributes): void {
    for (const [name, value] of Object.entries(attributes)) {
        const wanted = value === null || value === undefined || value === false ? null : value === true ? "" : String(value);
        if (wanted === e.getAttribute(name))
            continue;
        if (wanted === null)
            e.removeAttribute(name);
        else
            e.setAttribute(name, wanted);
    }
}

export function put(e: Node, text: string): void {
    if (e.textContent !== text)
        e.textContent = text;
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
    const e = document.getElementById(id);
    if (!e)
        throw new Error(`no element ${id}`);
    return e as T;
}

/** Children of PARENT, one for each item; a row lives as long as its key does, and focus stays where it is. */
export class Rows<T, R extends { root: HTMLElement }> {
    private readonly rows = new Map<string, R>();

    constructor(
        private readonly parent: HTMLElement,
        private readonly key: (item: T) => string,
        private readonly make: (item: T) => R,
        private readonly update: (row: R, item: T) => void,
    ) {}

    show(items: readonly T[]): void {
        const focused = document.activeElement;
        const wanted = new Set(items.map(this.key));
        for (const [key, row] of this.rows)
            if (!wanted.has(key)) {
                row.root.remove();
                this.rows.delete(key);
            }
        const done = new Set<string>();
        let next = this.parent.firstElementChild;
        for (const item of items) {
            const key = this.key(item);
            if (done.has(key))
                continue;
            done.add(key);
            let row = this.rows.get(key);
            if (!row) {
                row = this.make(item);
                this.rows.set(key, row);
            }
            this.update(row, item);
            if (row.root === next)
                next = next.nextElementSibling;
            else
                this.parent.insertBefore(row.root, next);
        }
        if (focused instanceof HTMLElement && focused !== document.activeElement && this.parent.contains(focused))
            focused.focus({ preventScroll: true });
    }

    each(fn: (row: R) => void): void {
        for (const row of this.rows.values())
            fn(row);
    }

    get size(): number {
        return this.rows.size;
    }
}

/** A row of buttons of which one is on. */
export function segmented(parent: HTMLElement, on: (value: string) => void): void {
    const buttons = [...parent.querySelectorAll<HTMLButtonElement>("button[data-value]")];
    const choose = (b: HTMLButtonElement) => {
        for (const other of buttons)
            other.setAttribute("aria-pressed", String(other === b));
        on(b.dataset.value as string);
    };
    for (const b of buttons)
        b.addEventListener("click", () => choose(b));
}

export function remember(name: string, value: string | null): void {
    try {
        if (value === null)
            localStorage.removeItem("tls-off." + name);
        else
            localStorage.setItem("tls-off." + name, value);
    } catch {
        // storage may be forbidden; then nothing is remembered
    }
}

export function remembered(name: string): string | null {
    try {
        return localStorage.getItem("tls-off." + name);
    } catch {
        return null;
    }
}

/** True while the tab is in view; what nobody sees is not drawn. */
export const visible = () => document.visibilityState === "visible";
