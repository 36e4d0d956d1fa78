// What trio_ws.js does, checked without a browser: `node checks.mjs URL-OF-THE-MODULE` prints name and error as JSON.
import { assert, check, run, untilNext } from "./simulation.mjs";

const { connect } = await import(process.argv[2]);

/** Connect, and note states and messages. */
function noted(page, options = {}, url = "/chat") {
  const seen = { states: [], messages: [], recovered: [] };
  seen.connection = connect(url, {
    onstate: (state, detail) => seen.states.push([state, detail]),
    onmessage: (message) => seen.messages.push(message),
    onrecovered: (complete) => seen.recovered.push(complete),
    ...options,
  });
  seen.last = () => seen.states.at(-1);
  return seen;
}

const outcome = (promise) => promise.then((value) => ({ value }), (error) => ({ error }));

check("a path becomes a URL of the page's own host", async (page) => {
  const seen = noted(page);
  assert.equal(page.sockets.length, 0); // a caller's own variable is set before the first state
  await page.open();
  assert.equal(page.socket.url, "wss://example.org/chat");
  assert.deepEqual(seen.states.map(([state]) => state), ["connecting", "open"]);
  assert.equal(seen.connection.state, "open");
});

check("a function makes the URL of each attempt", async (page) => {
  let count = 0;
  const seen = noted(page, {}, async () => {
    if (++count === 2) throw new Error("no token");
    return `ws://other.example/x?token=${count}`;
  });
  await page.open();
  await page.drop();
  await untilNext(page);
  assert.deepEqual(page.sockets.map(({ url }) => url), ["ws://other.example/x?token=1", "ws://other.example/x?token=3"]);
  assert.match(seen.states.map(([, { reason }]) => reason).join(), /no token/);
});

check("subprotocols are offered", async (page) => {
  noted(page, { protocols: ["one", "two"] });
  await page.pass(0);
  assert.deepEqual(page.socket.protocols, ["one", "two"]);
});

for (const code of [1001, 1006, 1011, 1014])
  check(`${code} is followed by an attempt after a random delay`, async (page) => {
    const seen = noted(page);
    await page.open();
    await page.drop(code, "why");
    assert.deepEqual(seen.last(), ["waiting", { code, reason: "why", delay: 250 }]);
    assert.equal(await untilNext(page), 250);
  });

for (const code of [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 3000, 4000, 4401])
  check(`${code} ends it`, async (page) => {
    const seen = noted(page);
    await page.open();
    await page.drop(code, "why");
    assert.deepEqual(seen.last(), ["closed", { code, reason: "why" }]);
    assert.equal(page.timers.size, 0);
  });

check("1012 is followed by a spread of up to ten times the first delay", async (page) => {
  noted(page);
  await page.open();
  await page.drop(1012);
  assert.equal(await untilNext(page), 0.5 * 5000 + 250);
});

check("1013 is followed by thirty times the first delay", async (page) => {
  noted(page, { initial: 100 });
  await page.open();
  await page.drop(1013);
  assert.equal(await untilNext(page), 3000 + 50);
});

check("the application decides with again", async (page) => {
  const answers = [true, 7000, undefined, false];
  const seen = noted(page, { again: (code, reason) => (assert.equal(reason, "expired"), answers.shift()) });
  for (const expected of [251, 7500, null]) {
    await page.open();
    await page.drop(4401, "expired");
    assert.equal(await untilNext(page), expected);
  }
  assert.deepEqual(seen.last(), ["closed", { code: 4401, reason: "expired" }]);
});

check("delays grow to the maximum", async (page) => {
  noted(page, { maximum: 3000 });
  await page.pass(0);
  const delays = [];
  for (let turn = 0; turn < 6; turn++) {
    page.socket.onclose({ code: 1006, reason: "" });
    delays.push(await untilNext(page));
  }
  assert.deepEqual(delays, [250, 500, 1000, 1500, 1500, 1500]);
});

check("delays are random from zero on", async (page) => {
  noted(page);
  page.chance = 0;
  await page.open();
  await page.drop(); // which moves the clock by nothing
  assert.equal(page.sockets.length, 2);
});

for (const [lived, expected] of [[9999, 500], [10000, 250]])
  check(`a connection of ${lived} ms is followed by ${expected} ms`, async (page) => {
    noted(page);
    await page.open();
    await page.drop();
    await untilNext(page);
    await page.open();
    await page.pass(lived);
    await page.drop();
    assert.equal(await untilNext(page), expected);
  });

for (const [status, after, expected] of [
  [503, "20", 20250], [429, "20", 20250], [503, undefined, 250], [503, "nonsense", 250], [503, "-5", 250], [503, "99999", 3600250],
  [503, "date", 30250], [500, "20", 250], [408, undefined, 250], [426, undefined, 250], [200, undefined, 250],
  [404, undefined, null], [403, "20", null], [401, undefined, null], [421, undefined, null],
])
  check(`HTTP ${status} with Retry-After ${after} means ${expected}`, async (page) => {
    const seen = noted(page);
    const value = after === "date" ? new Date(page.time + 30000).toUTCString() : after;
    page.answer = () => ({ status, headers: value === undefined ? {} : { "Retry-After": value } });
    await page.pass(0);
    page.socket.onclose({ code: 1006, reason: "" });
    assert.equal(await untilNext(page), expected);
    assert.deepEqual(page.fetched, ["https://example.org/chat"]);
    if (expected === null) assert.equal(seen.connection.state, "closed");
  });

check("a connection that was open asks nothing over HTTP", async (page) => {
  noted(page);
  await page.open();
  await page.drop();
  await untilNext(page);
  assert.deepEqual(page.fetched, []);
});

check("the last id is sent as since", async (page) => {
  const seen = noted(page, { since: "id" });
  await page.open();
  assert.equal(page.socket.url, "wss://example.org/chat");
  page.hear({ id: "1-1", message: "a" });
  page.hear({ id: "1-2 &~", message: "b" });
  page.hear({ notice: "no id" });
  page.hear("text");
  page.hear("null");
  await page.drop();
  await untilNext(page);
  assert.equal(page.socket.url, `wss://example.org/chat?since=${new URLSearchParams([["", "1-2 &~"]]).toString().slice(1)}`);
  assert.deepEqual(seen.messages.slice(2), [{ notice: "no id" }, "text", null]);
});

check("since keeps the query of the URL", async (page) => {
  noted(page, { since: "id" }, "/chat?user=Ada");
  await page.open();
  page.hear({ id: "7" });
  await page.drop();
  await untilNext(page);
  assert.equal(page.socket.url, "wss://example.org/chat?user=Ada&since=7");
});

check("a reply moves no since", async (page) => {
  const seen = noted(page, { since: "id" });
  await page.open();
  page.hear({ id: "7" });
  const reply = outcome(seen.connection.request({}));
  page.hear({ id: "9", ref: 1 }); // "8" of somebody else is on its way
  assert.deepEqual(await reply, { value: { id: "9", ref: 1 } });
  await page.drop();
  await untilNext(page);
  assert.equal(page.socket.url, "wss://example.org/chat?since=7");
});

check("ids are messages like others without since", async (page) => {
  const seen = noted(page);
  await page.open();
  page.hear({ id: 4, recovered: false });
  await page.drop();
  await untilNext(page);
  assert.equal(page.socket.url, "wss://example.org/chat");
  assert.deepEqual([seen.messages, seen.recovered], [[{ id: 4, recovered: false }], []]);
});

check("recovered is told apart from messages", async (page) => {
  const seen = noted(page, { since: "id" });
  await page.open();
  for (const message of [{ recovered: true }, { recovered: false }, { recovered: "patient" }]) page.hear(message);
  assert.deepEqual([seen.recovered, seen.messages], [[true, false], [{ recovered: "patient" }]]);
});

check("text stays text without json", async (page) => {
  const seen = noted(page, { json: false });
  await page.open();
  page.hear("7");
  seen.connection.send("8");
  assert.deepEqual([seen.messages, page.socket.sent], [["7"], ["8"]]);
});

check("binary goes both ways", async (page) => {
  const seen = noted(page), bytes = new Uint8Array([1, 2]);
  await page.open();
  page.socket.onmessage({ data: bytes.buffer });
  seen.connection.send(bytes);
  seen.connection.send(bytes.buffer);
  seen.connection.send([1]);
  assert.deepEqual([seen.messages, page.socket.sent], [[bytes.buffer], [bytes, bytes.buffer, "[1]"]]);
});

check("messages wait for a connection in their order", async (page) => {
  const seen = noted(page, { queue: 2 });
  seen.connection.send("a");
  seen.connection.send("b");
  assert.throws(() => seen.connection.send("c"), RangeError);
  assert.equal(seen.connection.queued, 2);
  await page.open();
  assert.deepEqual(page.socket.sent, ['"a"', '"b"']);
  assert.equal(seen.connection.queued, 0);
  page.socket.readyState = 2; // closing: the browser would drop it
  seen.connection.send("d");
  await page.drop();
  await untilNext(page);
  await page.open();
  assert.deepEqual(page.socket.sent, ['"d"']);
});

check("a request gets the reply with its reference", async (page) => {
  const seen = noted(page);
  await page.open();
  const [one, two, three] = [{ do: 1 }, { do: 2 }, { do: 3 }].map((each) => outcome(seen.connection.request(each)));
  assert.deepEqual(page.socket.sent.map(JSON.parse), [{ do: 1, ref: 1 }, { do: 2, ref: 2 }, { do: 3, ref: 3 }]);
  page.hear({ statusCode: 404, body: { id: 4 }, ref: 2 });
  page.hear({ news: 1, ref: 9 });
  page.hear({ statusCode: 200, body: null, ref: 1 });
  page.hear({ done: true, ref: 3 });
  const { error } = await two;
  assert.deepEqual([error instanceof Error, error.statusCode, error.body], [true, 404, { id: 4 }]);
  assert.deepEqual([await one, await three], [{ value: null }, { value: { done: true, ref: 3 } }]);
  assert.deepEqual(seen.messages, [{ news: 1, ref: 9 }]);
  assert.equal(page.timers.size, 0);
});

check("a request without reply fails in time", async (page) => {
  const seen = noted(page, { timeout: 3000, reference: "number" });
  await page.open();
  const reply = outcome(seen.connection.request({}));
  page.hear({ other: true });
  await page.pass(3000);
  assert.equal((await reply).error.name, "TimeoutError");
  assert.equal(seen.connection.state, "open");
  page.hear({ number: 1, late: true });
  assert.equal(seen.messages.length, 2);
});

check("a silent connection is replaced after a request", async (page) => {
  const seen = noted(page);
  await page.open();
  await page.pass(1);
  const reply = outcome(seen.connection.request({})), { socket } = page;
  await page.pass(10000);
  assert.equal((await reply).error.name, "TimeoutError");
  assert.deepEqual(socket.closedWith, [1000, "silent"]);
  assert.deepEqual(seen.last(), ["waiting", { code: 1006, reason: "silent", delay: 250 }]);
  assert.equal(await untilNext(page), 250);
});

check("a lost connection fails the requests that were sent", async (page) => {
  const seen = noted(page);
  await page.open();
  const sent = outcome(seen.connection.request({}));
  page.socket.readyState = 3;
  const kept = outcome(seen.connection.request({ kept: true }));
  await page.drop();
  assert.equal((await sent).error.name, "NetworkError");
  await untilNext(page);
  await page.open();
  assert.deepEqual(page.socket.sent.map(JSON.parse), [{ kept: true, ref: 2 }]);
  page.hear({ ref: 2, body: "here", statusCode: 200 });
  assert.deepEqual(await kept, { value: "here" });
});

check("a request that waited too long is not sent", async (page) => {
  const seen = noted(page, { timeout: 100, queue: 1 });
  const reply = outcome(seen.connection.request({}));
  assert.ok((await outcome(seen.connection.request({}))).error instanceof RangeError);
  await page.pass(100);
  assert.equal((await reply).error.name, "TimeoutError");
  await page.open();
  assert.deepEqual(page.socket.sent, []);
});

for (const wake of ["online", "visible"])
  check(`the next attempt is at once when ${wake}`, async (page) => {
    const seen = noted(page, { initial: 50000 });
    await page.open();
    page.show(false);
    await page.drop();
    assert.equal(seen.last()[1].delay, 25000);
    page.show(false);
    assert.equal(page.sockets.length, 1);
    if (wake === "visible") page.show(true);
    else { document.hidden = false; page.fire("online"); }
    assert.equal(await untilNext(page), 0);
    page.show(true);
    assert.equal(page.sockets.length, 2); // while it is connecting
  });

check("a visible page waits as long as the server wants", async (page) => {
  noted(page);
  await page.open();
  await page.drop(1013);
  await page.pass(1000);
  page.show(true);
  page.show(true);
  assert.equal(await untilNext(page), 14000);
});

check("a lost network ends the connection at once", async (page) => {
  const seen = noted(page, { since: "id" });
  await page.open();
  page.hear({ id: "5" });
  const reply = outcome(seen.connection.request({})), { socket } = page;
  page.fire("offline");
  assert.deepEqual(socket.closedWith, [1000, "offline"]);
  assert.equal((await reply).error.name, "NetworkError");
  seen.connection.send("kept");
  page.fire("offline");
  await page.pass(0);
  assert.deepEqual(seen.last(), ["waiting", { code: 1006, reason: "offline", delay: 250 }]);
  page.fire("online");
  await page.open();
  assert.match(page.socket.url, /since=5/);
  assert.deepEqual(page.socket.sent, ['"kept"']);
});

check("close ends everything", async (page) => {
  const seen = noted(page);
  await page.open();
  const sent = outcome(seen.connection.request({}));
  page.socket.readyState = 3;
  const kept = outcome(seen.connection.request({}));
  seen.connection.close(4000, "enough");
  assert.deepEqual(page.socket.closedWith, [4000, "enough"]);
  assert.deepEqual(seen.last(), ["closed", { code: 4000, reason: "enough" }]);
  assert.deepEqual([(await sent).error.name, (await kept).error.name], ["NetworkError", "NetworkError"]);
  for (const event of ["offline", "online"]) page.fire(event);
  seen.connection.close();
  assert.throws(() => seen.connection.send("x"), /ended/);
  assert.ok((await outcome(seen.connection.request({}))).error);
  await page.pass(1e6);
  assert.equal(page.sockets.length, 1);
  assert.equal(seen.states.filter(([state]) => state === "closed").length, 1);
});

check("close with a code that pages may not send changes nothing", async (page) => {
  const seen = noted(page);
  await page.open();
  page.socket.close = () => { throw new DOMException("no such code", "InvalidAccessError"); };
  assert.throws(() => seen.connection.close(1002), { name: "InvalidAccessError" });
  page.hear("still");
  assert.deepEqual([seen.connection.state, seen.messages], ["open", ["still"]]);
});

for (const moment of ["before the first attempt", "while the URL is made", "while it asks over HTTP", "while it waits"])
  check(`close works ${moment}`, async (page) => {
    let give;
    const later = new Promise((resolve) => { give = resolve; });
    const seen = noted(page, {}, moment === "while the URL is made" ? () => later : "/chat");
    if (moment !== "before the first attempt") await page.pass(0);
    if (moment === "while it asks over HTTP") page.answer = () => later;
    if (moment === "while it asks over HTTP" || moment === "while it waits") page.socket.onclose({ code: 1006, reason: "" });
    if (moment === "while it waits") await page.pass(0);
    seen.connection.close();
    const { length } = page.sockets;
    give("/chat");
    assert.equal(await untilNext(page), null);
    assert.equal(page.sockets.length, length);
    assert.deepEqual(seen.last(), ["closed", { code: 1000, reason: "" }]);
  });

check("an error in a callback does not stop it", async (page) => {
  const seen = noted(page, { onmessage: () => { throw new Error("of the page"); }, since: "id" });
  await page.open();
  assert.throws(() => page.hear({ id: "8" }), /of the page/);
  await page.drop();
  assert.equal(await untilNext(page), 250);
  assert.match(page.socket.url, /since=8/);
  assert.equal(seen.connection.state, "connecting");
});

await run();
