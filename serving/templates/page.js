// Fetches the page's parts every two seconds while it is looked at, and swaps those that changed.
const main = document.getElementById("page");
const parts = (root) => [...root.querySelectorAll("[data-part]")];
const names = (root) => parts(root).map((part) => part.id).join();
const reachable = (root) => [...root.querySelectorAll("a, button, summary, input, select, textarea")];
let timer;
let busy = false;
document.body.classList.add("script");

function isSelectedIn(part) {
  const selection = getSelection();
  return !selection.isCollapsed && part.contains(selection.anchorNode);
}

function isTypedIn(part) {
  return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
}

function keepTyped(old, fresh) {
  for (const field of old.querySelectorAll("input[id]")) {
    const same = fresh.querySelector(`#${CSS.escape(field.id)}`);
    if (same) same.value = field.value;
  }
}

// What a person opened, typed, scrolled to or stands on is the same afterwards.
function replace(old, part) {
  for (const open of old.querySelectorAll("details[open]")) {
    part.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
  if (part.outerHTML === old.outerHTML || isSelectedIn(old) || isTypedIn(old)) return;
  const focused = reachable(old).indexOf(document.activeElement);
  const scrolled = [...old.querySelectorAll("[data-scroll]")].map((each) => each.scrollLeft);
  keepTyped(old, part);
  old.replaceWith(part);
  part.querySelectorAll("[data-scroll]").forEach((each, i) => (each.scrollLeft = scrolled[i] ?? 0));
  if (focused >= 0) reachable(part)[focused]?.focus({ preventScroll: true });
}

function swap(text) {
  const fresh = document.createElement("main");
  fresh.innerHTML = text;
  if (names(fresh) !== names(main)) {
    keepTyped(main, fresh);
    return main.replaceChildren(...fresh.childNodes);
  }
  for (const part of parts(fresh)) replace(document.getElementById(part.id), part);
}

async function refresh() {
  clearTimeout(timer);
  if (document.hidden || busy) return;
  busy = true;
  try {
    const answer = await fetch(document.body.dataset.fragment, { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(answer.status);
    swap(await answer.text());
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
  }
  busy = false;
  timer = setTimeout(refresh, 2000);
}

document.addEventListener("visibilitychange", refresh);
timer = setTimeout(refresh, 2000);
