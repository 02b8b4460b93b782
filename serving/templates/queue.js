// The labelling queue: one disagreement at a time, answered by key. Who said what is told after the label is given.
const dialog = document.getElementById("queue");
const part = (name) => document.getElementById(`queue-${name}`);
const at = `/models/${dialog.dataset.model}`;
const KEYS = 9;
const state = { classes: [], champion: null, waiting: [], done: [], seen: new Set(), left: 0, labelled: 0 };
let current = null;
let isSending = false;
let refilling = null;

const span = (s) => (s < 90 ? `${Math.max(0, Math.round(s))} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`);
const now = () => Date.now() / 1000;
const isLate = (item) => item.counts_until === null || item.counts_until < now();

function element(name, text, ...inside) {
  const made = document.createElement(name);
  made.append(...(text === "" ? [] : [text]), ...inside);
  return made;
}

async function refill() {
  const answer = await fetch(`${at}/ask-labels?count=${Math.min(1000, 50 + state.seen.size)}`);
  const queue = await answer.json();
  if (!answer.ok) throw new Error(queue.error.reason);
  Object.assign(state, { classes: queue.classes, champion: queue.champion, left: queue.waiting });
  const known = new Set(state.waiting.map((item) => item.prediction_id));
  const fresh = queue.items.filter((item) => !state.seen.has(item.prediction_id) && !known.has(item.prediction_id));
  const late = state.waiting.filter(isLate).length;
  state.waiting.splice(state.waiting.length - late, 0, ...fresh.filter((item) => !isLate(item)));
  state.waiting.push(...fresh.filter(isLate));
}

// Once in three seconds while the dialog is open: what is asked now waits longest for its label.
async function follow() {
  clearTimeout(refilling);
  if (!dialog.open) return;
  try {
    await refill();
    if (current === null) next();
    else tell();
  } catch (error) {
    say(`The queue could not be read: ${error.message}`, true);
  }
  refilling = setTimeout(follow, 3000);
}

function say(text, isWrong = false) {
  part("told").textContent = text;
  part("told").classList.toggle("failed", isWrong);
}

function next() {
  current = state.waiting.shift() ?? null;
  if (current !== null) state.seen.add(current.prediction_id);
  show();
}

function show() {
  part("features").replaceChildren();
  part("choices").replaceChildren();
  part("find").value = "";
  part("find").hidden = current === null || state.classes.length <= KEYS;
  for (const [name, value] of Object.entries(current?.features ?? {})) {
    const shown = value === null ? "missing" : typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
    part("features").append(element("div", "", element("dt", name), element("dd", shown)));
  }
  for (const text of current === null ? [] : ordered()) part("choices").append(choice(text));
  tell();
}

// Where there are a key for each class, each keeps its own; else those that were answered come first.
function ordered() {
  if (state.classes.length <= KEYS) return state.classes;
  return [...current.answers, ...state.classes.filter((text) => !current.answers.includes(text))];
}

function choice(text) {
  const place = part("choices").childElementCount + 1;
  const made = element("button", "", ...(place <= KEYS ? [element("kbd", String(place)), " "] : []), text);
  made.type = "button";
  made.dataset.class = text;
  if (current.answers.includes(text)) {
    made.classList.add("answered");
    made.append(" ", element("small", "answered by a version"));
  }
  if (current.given === text) made.setAttribute("aria-pressed", "true");
  made.addEventListener("click", () => give(text));
  return made;
}

function tell() {
  const name = part("name").value.trim();
  part("state").textContent =
    current === null
      ? `No disagreement waits for a label. ${state.labelled} labelled. New ones appear here as they are asked.`
      : `${state.labelled} labelled, ${state.waiting.length} more here. Asked ${span(now() - current.asked_at)} ago.`;
  part("counts").textContent =
    current === null
      ? ""
      : isLate(current)
        ? "It has matured: a label is still learned and audited, but is no evidence."
        : `Counts as evidence for another ${span(current.counts_until - now())}.`;
  if (current?.given) part("counts").textContent += ` You said ${current.given}; another answer replaces it.`;
  for (const button of part("choices").children) button.disabled = name === "";
  part("skip").disabled = current === null;
  part("back").disabled = state.done.length === 0;
  part("name").classList.toggle("missing", name === "");
}

async function give(label) {
  const reporter = part("name").value.trim();
  if (current === null || isSending || reporter === "") return reporter === "" ? part("name").focus() : undefined;
  isSending = true;
  try {
    const body = JSON.stringify({ prediction_id: current.prediction_id, label, reporter });
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${at}/feedback`, { method: "POST", headers, body, signal: AbortSignal.timeout(10000) });
    const receipt = await answer.json();
    if (!answer.ok) throw new Error(receipt.error.reason);
    reveal(label, receipt.status);
    if (!current.given) state.labelled += 1;
    current.given = label;
    state.done.push(current);
    next();
  } catch (error) {
    say(`The label was not taken: ${error.message}`, true);
  }
  isSending = false;
}

function reveal(label, status) {
  const said = Object.entries(current.said).map(([version, text]) => {
    const who = Number(version) === state.champion ? `v${version}, the champion,` : `v${version}`;
    return `${who} said ${text} ${text === label ? "✓" : "✗"}`;
  });
  const before = status === "correction" ? " It replaces an earlier label." : "";
  say(`You said ${label}. ${said.join("; ")}.${before}`);
}

function skip() {
  if (current === null) return;
  state.done.push(current);
  next();
}

function back() {
  if (state.done.length === 0) return;
  if (current !== null) state.waiting.unshift(current);
  current = state.done.pop();
  say("");
  show();
}

function find() {
  const wanted = part("find").value.trim().toLowerCase();
  for (const button of part("choices").children) button.hidden = !button.dataset.class.toLowerCase().includes(wanted);
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target === part("find") && event.key === "Enter") {
    part("choices").querySelector("button:not([hidden])")?.click();
    dialog.focus();
  } else if (event.target === part("name") && event.key === "Enter") {
    dialog.focus();
  } else if (event.target.matches("input")) {
    return;
  } else if (event.key === "s") skip();
  else if (event.key === "u") back();
  else if (event.key === "/" && !part("find").hidden) part("find").focus();
  else if (event.key >= "1" && event.key <= String(KEYS)) part("choices").children[Number(event.key) - 1]?.click();
  else return;
  event.preventDefault();
}

function open() {
  part("name").value = localStorage.getItem("tiltyard-reporter") ?? "";
  say("");
  dialog.showModal();
  (part("name").value === "" ? part("name") : dialog).focus();
  tell();
  follow();
}

dialog.tabIndex = -1;
dialog.addEventListener("keydown", press);
dialog.addEventListener("close", () => {
  clearTimeout(refilling);
  if (current !== null) state.waiting.unshift(current);
  current = null;
});
part("close").addEventListener("click", () => dialog.close());
part("skip").addEventListener("click", skip);
part("back").addEventListener("click", back);
part("find").addEventListener("input", find);
part("name").addEventListener("input", () => {
  localStorage.setItem("tiltyard-reporter", part("name").value.trim());
  tell();
});
document.addEventListener("click", (event) => event.target.closest("[data-queue]") && open());
