// What the examples' pages have in common: a status line, a list that follows its end, and fields that are remembered.

export const element = (id) => document.getElementById(id);

/** Return an `onstate` that shows the connection's state: what it does now, and what it does next. */
export function showState(line, { open = "connected" } = {}) {
  let timer;
  return (state, { code, reason, delay }) => {
    clearInterval(timer);
    const end = Date.now() + delay;
    const show = () => {
      const seconds = Math.max(Math.ceil((end - Date.now()) / 1000), 0);
      line.textContent = {
        connecting: "connecting…",
        open,
        waiting: `disconnected (${code}), trying again in ${seconds} s`,
        closed: `closed (${code})${reason ? `: ${reason}` : ""}`,
      }[state];
    };
    line.classList.toggle("bad", state === "waiting" || state === "closed");
    show();
    if (state === "waiting") timer = setInterval(show, 1000);
  };
}

/** Return a function that appends items. The newest is in view, unless the reader has scrolled away from the end. */
export function follow(list) {
  const place = document.createElement("div"), button = document.createElement("button");
  place.className = "newer";
  place.append(button);
  button.textContent = "New messages ↓";
  button.hidden = true;
  list.after(place);
  const toEnd = () => list.scrollTo(0, list.scrollHeight);
  const atEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  button.onclick = toEnd;
  list.onscroll = () => { if (atEnd()) button.hidden = true; };
  return (...items) => {
    const follows = atEnd();
    list.append(...items);
    if (follows) toEnd();
    else button.hidden = false;
  };
}

/** Return a list item. Text is set as text, never as HTML: a user wrote it. */
export function item(text, kind = "", author = "") {
  const made = document.createElement("li");
  made.className = kind;
  if (author) {
    const name = document.createElement("b");
    name.textContent = author;
    made.append(name);
  }
  made.append(text);
  return made;
}

/** Keep what is in a field when the page is loaded anew. */
export function remember(field) {
  field.value = localStorage.getItem(field.id) ?? field.value;
  field.addEventListener("input", () => localStorage.setItem(field.id, field.value));
}

/** Send a form with Enter; Shift+Enter begins a line in a textarea. */
export function submitWithEnter(form) {
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.target.tagName !== "TEXTAREA") return;
    event.preventDefault();
    form.requestSubmit();
  });
}

/**
 * Return a list of messages that are sent one after another, each until the server has answered it; also after a reload.
 *
 * Each has a `key`, by which the server recognises a message that it has already. `request` sends one, and returns a
 * promise of the reply. One that is refused is dropped, and so is one that was answered a second ago. `changed` is called
 * with the messages that are there.
 */
export function outbox(name, request, changed) {
  let messages = JSON.parse(sessionStorage.getItem(name) ?? "[]"), sent = Promise.resolve();
  function drop(unwanted) {
    messages = messages.filter((each) => !unwanted(each));
    sessionStorage.setItem(name, JSON.stringify(messages));
    changed(messages);
  }
  async function send(message) {
    const dropThis = () => drop(({ key }) => key === message.key);
    for (;;) {
      try {
        await request(message);
        return void setTimeout(dropThis, 1000);
      } catch ({ statusCode }) {
        if (statusCode >= 400 && statusCode < 429) return dropThis();
        await new Promise((resume) => setTimeout(resume, 500));
      }
    }
  }
  const follow = (message) => { sent = sent.then(() => send(message)); };
  messages.forEach(follow);
  return { drop, add(message) { messages.push(message); drop(() => false); follow(message); } };
}
