// A page without a browser: a clock that is moved by hand, a network that does what a check says.
import assert from "node:assert/strict";

const REAL = setImmediate;
const rest = () => new Promise((resolve) => REAL(resolve));

export class Page {
  constructor() {
    this.time = 1e12;
    this.timers = new Map();
    this.number = 0;
    this.sockets = [];
    this.fetched = [];
    this.answer = () => { throw new TypeError("no network"); };
    this.chance = 0.5;
    const page = this;
    const listening = new EventTarget(), document = new EventTarget();
    document.hidden = false;
    Object.assign(globalThis, {
      document,
      location: { href: "https://example.org/room/page?name=Ada" },
      addEventListener: listening.addEventListener.bind(listening),
      setTimeout: (call, delay = 0, ...values) => {
        page.timers.set(++page.number, { at: page.time + Math.max(delay, 0), call: () => call(...values) });
        return page.number;
      },
      clearTimeout: (number) => page.timers.delete(number),
      fetch: async (url) => {
        page.fetched.push(String(url));
        const { status, headers = {} } = await page.answer(String(url));
        return { status, headers: new Headers(headers) };
      },
      WebSocket: class {
        constructor(url, protocols) {
          Object.assign(this, { url: String(url), protocols, readyState: 0, sent: [], closedWith: null });
          page.sockets.push(this);
        }
        send(data) { this.sent.push(data); }
        close(code, reason) { this.readyState = 2; this.closedWith = [code, reason]; }
      },
    });
    Date.now = () => page.time;
    Math.random = () => page.chance;
    this.fire = (type) => listening.dispatchEvent(new Event(type));
    this.show = (visible) => {
      document.hidden = !visible;
      document.dispatchEvent(new Event("visibilitychange"));
    };
  }

  get socket() { return this.sockets.at(-1); }

  /** Move the clock, call the timers that are due in their order, and let promises settle. */
  async pass(milliseconds) {
    const end = this.time + milliseconds;
    await rest();
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort(([a, one], [b, two]) => one.at - two.at || a - b)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].call();
      await rest();
    }
    this.time = end;
  }

  async open() {
    await this.pass(0);
    this.socket.readyState = 1;
    this.socket.onopen();
  }

  async drop(code = 1006, reason = "") {
    this.socket.readyState = 3;
    this.socket.onclose({ code, reason });
    await this.pass(0);
  }

  hear(message) { this.socket.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) }); }
}

/** Return the milliseconds until the next attempt, at most a day; null if there is none. */
export async function untilNext(page) {
  const { length } = page.sockets, begun = page.time;
  for (;;) {
    await rest();
    if (page.sockets.length > length) return page.time - begun;
    const next = Math.min(...[...page.timers.values()].map(({ at }) => at));
    if (next - begun > 864e5) return null;
    await page.pass(Math.max(next - page.time, 0));
  }
}

const checks = [];
export const check = (name, body) => checks.push([name, body]);
export { assert };

export async function run() {
  const results = {};
  for (const [name, body] of checks) {
    try {
      await body(new Page());
      results[name] = null;
    } catch (error) {
      results[name] = String(error?.stack ?? error);
    }
  }
  console.log(JSON.stringify(results));
}
