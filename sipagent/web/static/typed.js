// Keeps what was typed while a login, or a page that says what went wrong, stands between a form and its sending: in this tab alone,
// until it is in its form again, is sent, or somebody logs out or is somebody else. Never a password, a code, a passphrase or a file.
//
// Kept are the person, the page, and by form: `typed`, when the page was left; and what is `waiting`, since such a page came between.

const NAME = "typed";
const { page, whose } = document.querySelector("main").dataset;
const between = document.querySelector("[data-kept]");
const leaving = new AbortController();

const record = () => JSON.parse(sessionStorage.getItem(NAME));
const forget = () => sessionStorage.removeItem(NAME);
const keep = (kept) => sessionStorage.setItem(NAME, JSON.stringify(kept));

const nameOf = (field) => field.name || field.id;
const isSecret = (field) =>
  /^(hidden|password|file|submit|button|range)$/.test(field.type) || /password|one-time/.test(field.autocomplete);
const fieldsOf = (form) => [...form.elements].filter((field) => "value" in field && nameOf(field) && !isSecret(field));
const isTick = (field) => field.type === "checkbox" || field.type === "radio";

// A field may be called `id` or `name`: a form's own are its attributes. Of several for accounts each has its account.
const keyOf = (form) =>
  ["id", "name", "action"].map((name) => form.getAttribute(name)).find(Boolean) + (form.elements.account?.value ?? "");

function isTyped(field) {
  if (isTick(field)) return field.checked !== field.defaultChecked;
  if (field.options) return !field.selectedOptions[0]?.defaultSelected && field.selectedIndex > 0;
  return field.value !== field.defaultValue || (field.value !== "" && field.form.getAttribute("method") === "post");
}

function save() {
  leaving.abort();
  if (!whose) return;
  const typed = (form) => fieldsOf(form).filter(isTyped).map((one) => [nameOf(one), one.value, one.checked]);
  const forms = [...document.forms].map((form) => [keyOf(form), typed(form)]).filter(([, fields]) => fields.length);
  const waiting = record()?.page === page ? record().waiting : {};
  if (forms.length) keep({ whose, page, waiting, typed: Object.fromEntries(forms) });
}

function fill(form, typed) {
  const filled = [];
  for (const [name, value, checked] of typed) {
    const field = fieldsOf(form).find((one) => nameOf(one) === name && (!isTick(one) || one.value === value));
    if (!field || (isTick(field) ? field.checked === checked : field.value === value)) continue;
    if (field.options && ![...field.options].some((one) => one.value === value)) continue;
    if (isTick(field)) field.checked = checked;
    else field.value = value;
    for (let around = field; (around = around.parentElement.closest("details")); ) around.open = true;
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
    filled.push(field);
  }
  return filled;
}

function bringBack({ waiting }) {
  const filled = [];
  for (const form of document.forms) {
    filled.push(...fill(form, waiting[keyOf(form)] ?? []));
    delete waiting[keyOf(form)]; // what is left is of a form that comes with a later step
  }
  if (!filled.length) return;
  const said = document.createElement("p");
  said.className = "told";
  const back = document.getElementById("typed-back"), link = document.createElement("a");
  link.href = `#${filled[0].id}`;
  link.textContent = back.dataset.words;
  said.append(link);
  back.append(said);
}

const kept = record();
if (kept && between) {
  keep({ ...kept, waiting: { ...kept.waiting, ...kept.typed }, typed: {} });
  between.hidden = false;
} else if (kept) {
  if (kept.whose === whose && kept.page === page) bringBack(kept);
  if (kept.whose === whose && Object.keys(kept.waiting).length) keep({ ...kept, typed: {} });
  else forget();
}

addEventListener("pagehide", save, leaving);
document.addEventListener("page:leave", save, leaving); // see navigation.js
document.addEventListener("submit", ({ target }) => {
  if (target.getAttribute("action") !== "/logout") return;
  leaving.abort();
  forget();
}, leaving);
