// @ts-check
/**
 * A WebSocket that comes back, for pages. Times: milliseconds.
 *
 * @typedef {"connecting" | "open" | "waiting" | "closed"} State
 * @typedef {object} Options
 * @property {(message: any) => void} [onmessage]
 * @property {(state: State, detail: {code?: number, reason?: string, delay?: number}) => void} [onstate]
 * @property {(complete: boolean) => void} [onrecovered]
 * @property {(code: number, reason: string) => boolean | number | void} [again]
 * @property {string} [since] names the id in messages
 * @property {string} [reference] names that of requests: "ref"
 * @property {boolean} [json] false: text stays text
 * @property {number} [queue] messages that may wait: 100
 * @property {number} [timeout] of requests: 10000
 * @property {number} [initial] range of a first delay: 500
 * @property {number} [maximum] of all: 60000
 * @property {string[]} [protocols]
 *
 * @param {string | (() => string | Promise<string>)} url called for each attempt, if a function
 * @param {Options} options
 */
export function connect(url, options = {}) {
	const { since, reference = "ref", json = true, queue = 100, timeout = 1e4, initial = 500, maximum = 6e4 } = options;
	const requests = new Map(), listening = new AbortController(), now = Date.now;
	/** @type {State} */
	let state = "connecting";
	let ws, last, waiting = [], range = initial, attempt = 0, count = 0, opened, heard, earliest, timer = setTimeout(dial);

	function become(to, detail = {}) {
		state = to;
		options.onstate?.(to, detail);
	}

	async function dial() {
		const mine = ++attempt;
		opened = 0;
		become("connecting");
		try {
			const target = new URL(await (typeof url === "function" ? url() : url), location.href);
			if (mine !== attempt) return;
			target.protocol = target.protocol.replace("http", "ws");
			if (last) target.searchParams.set("since", last);
			ws = new WebSocket(target, options.protocols ?? []);
			ws.binaryType = "arraybuffer";
			ws.onopen = () => {
				opened = heard = now();
				for (const { data } of waiting.splice(0)) ws.send(data);
				become("open");
			};
			ws.onmessage = receive;
			ws.onclose = ({ code, reason }) => ended(code, reason, target.href);
		} catch (error) {
			if (mine === attempt) ended(1006, `${error}`);
		}
	}

	function receive({ data }) {
		heard = now();
		try {
			data = json ? JSON.parse(data) : data;
		} catch {}
		const ref = data?.[reference], request = requests.get(ref);
		if (since && !request) last = data?.[since] ?? last;
		if (request) {
			settle(ref);
			if (data.statusCode >= 400) request.reject(Object.assign(Error("status " + data.statusCode), data));
			else request.resolve("body" in data ? data.body : data);
		} else if (since && typeof data?.recovered === "boolean") options.onrecovered?.(data.recovered);
		else options.onmessage?.(data);
	}

	function settle(ref, error) {
		const { timer, reject } = requests.get(ref);
		requests.delete(ref);
		clearTimeout(timer);
		if (error) reject(new DOMException("no reply", error));
	}

	function fail() {
		for (const ref of requests.keys()) if (waiting.every((it) => it.ref !== ref)) settle(ref, "NetworkError");
	}

	async function ended(code, reason, target) {
		const mine = attempt;
		ws = 0;
		fail();
		if (opened && now() - opened >= 1e4) range = initial;
		const known = { 1001: 0, 1006: 0, 1011: 0, 1012: Math.random() * 10 * initial, 1013: 30 * initial, 1014: 0 };
		let next = options.again?.(code, reason) ?? known[code] ?? false;
		if (next === 0 && !opened && target) next = await ask(target);
		if (mine !== attempt) return;
		if (next === false) return close(code, reason);
		const delay = next + Math.random() * range;
		range = Math.min(2 * range, maximum);
		earliest = now() + next;
		timer = setTimeout(dial, delay);
		become("waiting", { code, reason, delay });
	}

	function drop(code, reason, lost = true) {
		if (!ws) return;
		ws.close(code, reason);
		ws = ws.onopen = ws.onmessage = ws.onclose = null;
		if (lost) ended(1006, reason);
	}

	function wake() {
		if (state !== "waiting" || document.hidden) return;
		clearTimeout(timer);
		timer = setTimeout(dial, earliest - now());
	}

	function send(message, ref) {
		if (state === "closed") throw Error("it has ended");
		const raw = !json || message instanceof ArrayBuffer || ArrayBuffer.isView(message);
		const data = raw ? message : JSON.stringify(message);
		if (ws?.readyState === 1) return ws.send(data);
		if (waiting.length >= queue) throw RangeError(`${queue} messages wait`);
		waiting.push({ data, ref });
	}

	function close(code = 1000, reason = "") {
		if (state === "closed") return;
		drop(code, reason, false);
		attempt++;
		clearTimeout(timer);
		listening.abort();
		waiting = [];
		fail();
		become("closed", { code, reason });
	}

	const request = (message) =>
		new Promise((resolve, reject) => {
			const ref = ++count, begun = now();
			send({ ...message, [reference]: ref }, ref);
			const timer = setTimeout(() => {
				waiting = waiting.filter((it) => it.ref !== ref);
				settle(ref, "TimeoutError");
				if (heard < begun) drop(1000, "silent");
			}, timeout);
			requests.set(ref, { resolve, reject, timer });
		});

	addEventListener("online", wake, listening);
	addEventListener("offline", () => drop(1000, "offline"), listening);
	document.addEventListener("visibilitychange", wake, listening);
	return {
		get state() { return state; },
		get queued() { return waiting.length; },
		/** Send, or keep. */
		send: (message) => send(message),
		/** Send, and return the reply. */
		request,
		close,
	};
}

// Only HTTP shows why a handshake failed.
async function ask(url) {
	try {
		const { status, headers } = await fetch(url.replace("ws", "http"), { signal: AbortSignal.timeout(5e3) });
		const value = headers.get("Retry-After"), wait = +value * 1e3 || Date.parse(value) - Date.now();
		if ([429, 503].includes(status) && wait > 0) return Math.min(wait, 36e5);
		return /^4(?!08|26|29)/.test(`${status}`) ? false : 0;
	} catch {
		return 0;
	}
}
