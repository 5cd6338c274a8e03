// The stream of snapshots. Opens it, notices that it went silent, opens it again, and says which of these it is.

export type Link = "connecting" | "live" | "reconnecting" | "lost";

export interface Events {
    snapshot(data: unknown): void;
    history(data: unknown): void;
    link(state: Link, since: number): void;
}

const SILENT_MS = 4000; // a snapshot comes every second
const LOST_MS = 10_000;
const WAITS_MS = [300, 700, 1500, 3000, 5000];

export class Connection {
    private source: EventSource | null = null;
    private watchdog = 0;
    private retry = 0;
    private tries = 0;
    private state: Link = "connecting";
    private heard = Date.now();

    constructor(private readonly url: string, private readonly events: Events) {}

    open(): void {
        this.close();
        const source = new EventSource(this.url);
        this.source = source;
        source.addEventListener("snapshot", (e) => this.take(source, e as MessageEvent<string>, (v) => this.events.snapshot(v)));
        source.addEventListener("history", (e) => this.take(source, e as MessageEvent<string>, (v) => this.events.history(v)));
        source.addEventListener("error", () => {
            // The browser's own retries wait as long as they please, and never come after a refusal.
            if (source === this.source)
                this.again();
        });
        this.watch(SILENT_MS * 2);
    }

    private take(source: EventSource, e: MessageEvent<string>, then: (v: unknown) => void): void {
        if (source !== this.source)
            return;
        this.heard = Date.now();
        this.tries = 0;
        this.watch(SILENT_MS);
        let value: unknown;
        try {
            value = JSON.parse(e.data);
        } catch {
            return;
        }
        this.enter("live");
        then(value);
    }

    private watch(ms: number): void {
        window.clearTimeout(this.watchdog);
        this.watchdog = window.setTimeout(() => this.again(), ms);
    }

    private close(): void {
        window.clearTimeout(this.watchdog);
        window.clearTimeout(this.retry);
        this.source?.close();
        this.source = null;
    }

    private again(): void {
        this.close();
        const wait = WAITS_MS[Math.min(this.tries, WAITS_MS.length - 1)] as number;
        this.tries++;
        this.enter(Date.now() - this.heard > LOST_MS ? "lost" : this.state === "connecting" ? "connecting" : "reconnecting");
        this.retry = window.setTimeout(() => this.open(), wait);
    }

    private enter(state: Link): void {
        if (state === this.state && state === "live")
            return;
        this.state = state;
        this.events.link(state, this.heard);
    }
}
