// Answers to requests: taken by the server, carried out by a flow; the page's next parts show what came of it.
const REMEMBERED = "tiltyard-reporter";

const fields = (request) => ({
  person: request.querySelector("[data-person]"),
  reason: request.querySelector("[data-reason]"),
  told: request.querySelector(".told"),
});

function say(told, text, isWrong = false) {
  told.textContent = text;
  told.classList.toggle("failed", isWrong);
}

async function answer(request, refuse) {
  const { person, reason, told } = fields(request);
  const empty = [person, reason].find((field) => field.value.trim() === "");
  if (empty) {
    say(told, empty === person ? "Your name is needed, for the ledger." : "A reason is needed, for the ledger.", true);
    return empty.focus();
  }
  localStorage.setItem(REMEMBERED, person.value.trim());
  const { version, asked } = request.dataset;
  const said = { version: Number(version), asked: Number(asked), person: person.value, reason: reason.value, refuse };
  const buttons = [...request.querySelectorAll("button")];
  buttons.forEach((button) => (button.disabled = true));
  say(told, "Sending …");
  try {
    const response = await fetch(`/models/${request.dataset.request}/approvals`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(said),
      signal: AbortSignal.timeout(10000),
    });
    const receipt = await response.json();
    if (!response.ok) throw new Error([receipt.error.field, receipt.error.reason].filter(Boolean).join(": "));
    say(told, "Taken. It is carried out within seconds.");
  } catch (error) {
    say(told, `Not taken: ${error.message}`, true);
    buttons.forEach((button) => (button.disabled = false));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-answer]");
  if (button) answer(button.closest("[data-request]"), button.dataset.answer === "refuse");
});
document.addEventListener("focusin", (event) => {
  if (event.target.matches("[data-person]") && event.target.value === "") {
    event.target.value = localStorage.getItem(REMEMBERED) ?? "";
    event.target.select();
  }
});
