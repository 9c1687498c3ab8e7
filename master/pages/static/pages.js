// Decides with the visitor's own session, keeps the page fresh, and keeps the address that people share in step.
"use strict";

const base = new URL(document.body.dataset.base, location.href);
const LOOK_MS = 150;          // between two looks at a decision's build
const PATIENCE_MS = 60000;    // for that build to end
const FRESH_MS = 5000;        // between two looks whether something has happened
const FOLLOW_MS = 300;        // between two looks at the address of Buildbot's page around us
const MINUTE_MS = 60000;      // relative times are shown in minutes
const PRESS_MS = 1000;        // a link that is replaced between pressing the button and letting go is never followed

let version = document.body.dataset.version;
let visitor = null;           // Buildbot's user; null while it is not known
let deciding = 0;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const framed = () => window.parent !== window && window.frameElement;

async function json(url, options) {
  const answer = await fetch(url, {credentials: "same-origin", cache: "no-store", ...options});
  const text = await answer.text();
  try {
    return {status: answer.status, body: JSON.parse(text)};
  } catch {
    return {status: answer.status, body: {error: {message: text.slice(0, 300)}}};
  }
}

// Who is looking

async function showVisitor() {
  const {body} = await json(new URL("config", base));
  visitor = body.user || {anonymous: true};
  const place = document.getElementById("visitor");
  if (visitor.anonymous) {
    place.replaceChildren("Not signed in. ", signIn());
  } else {
    place.textContent = `Signed in as ${visitor.username || visitor.email || visitor.full_name}`;
  }
}

function signIn() {
  const link = document.createElement("a");
  link.href = new URL(`auth/login?redirect=${encodeURIComponent(shared().slice(1))}`, base);
  link.target = "_top";
  link.textContent = "Sign in";
  return link;
}

// Deciding

function ready() {
  for (const form of document.querySelectorAll("form.act")) form.hidden = false;
}

async function act(form, decision) {
  const {scheduler, build, digest} = form.dataset;
  const reason = form.elements.reason.value.trim();
  if (!reason && decision !== "approve") {
    form.elements.reason.focus();
    return say(form, "Write a reason first: it is kept, and others will read it.", "refused");
  }
  const params = digest ? {build, digest, decision, reason} : {build, reason};
  say(form, "Asking …");
  const {status, body} = await json(new URL(`api/v2/forceschedulers/${scheduler}`, base), {
    method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({jsonrpc: "2.0", id: 1, method: "force", params}),
  });
  if (status === 403) return refuse(form);
  if (!body.result) return say(form, `Buildbot says: ${message(body)}`, "refused");
  const ended = await buildOf(Object.values(body.result[1])[0]);
  if (!ended) return say(form, "Buildbot has taken the decision and has not answered yet; it is shown as soon as it counts.");
  say(form, ended.state_string, ended.results === 0 ? "" : "refused");
  if (ended.results === 0) {
    form.elements.reason.value = "";
    document.getElementById("said").textContent = ended.state_string;
    await showAnew();
  }
}

function refuse(form) {
  if (!visitor || visitor.anonymous) {
    say(form, `You are not signed in. ${form.dataset.who} `, "refused");
    form.querySelector(".answer").append(signIn());
  } else {
    say(form, `${visitor.username || visitor.email} may not do this. ${form.dataset.who}`, "refused");
  }
}

async function buildOf(request) {
  const until = Date.now() + PATIENCE_MS;
  while (Date.now() < until) {
    const {body} = await json(new URL(`api/v2/buildrequests/${request}/builds`, base));
    const build = (body.builds || [])[0];
    if (build && build.complete) return build;
    await pause(LOOK_MS);
  }
  return null;
}

function message(body) {
  const said = body.error && (body.error.message || body.error);
  if (!said) return "no word";
  return typeof said === "string" ? said : Object.values(said).join("; ");
}

function say(form, text, kind = "") {
  const place = form.querySelector(".answer");
  place.className = `answer ${kind}`;
  place.textContent = text;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form.act")) return;
  event.preventDefault();
  const decision = event.submitter ? event.submitter.value : "approve";
  const buttons = [...form.querySelectorAll("button")];
  buttons.forEach((button) => { button.disabled = true; });
  deciding += 1;
  try {
    await act(form, decision);
  } catch {
    say(form, "Buildbot does not answer. Look whether the decision has counted before you try again.", "refused");
  } finally {
    deciding -= 1;
    buttons.forEach((button) => { button.disabled = false; });
  }
});

// Enter would press the first button, and approve what the reason may speak against.
document.addEventListener("keydown", (event) => {
  const form = event.target.form;
  if (event.key !== "Enter" || event.target.name !== "reason" || form.querySelectorAll("button").length < 2) return;
  event.preventDefault();
  say(form, "Press Approve or Reject: the reason can belong to either.", "refused");
});

// Filtering: what is not asked for is not in the address

document.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});

// Staying fresh

let shownAt = Date.now();
let pressedAt = 0;
document.addEventListener("pointerdown", () => { pressedAt = Date.now(); }, true);

const busy = () => deciding > 0 || document.hidden || typing() || Date.now() - pressedAt < PRESS_MS;

function typing() {
  const fields = [...document.querySelectorAll("form.act input")];
  return fields.some((field) => field.value) || (document.activeElement && document.activeElement.matches("input, select"));
}

async function showAnew(unless = () => false) {
  const answer = await fetch(location.href, {credentials: "same-origin", cache: "no-store"});
  const text = await answer.text();
  if (!answer.ok || unless()) return;
  const page = new DOMParser().parseFromString(text, "text/html");
  const open = new Set([...document.querySelectorAll("details[id]")].filter((each) => each.open).map((each) => each.id));
  const said = [...document.querySelectorAll("form.act")].map((form) => [form.dataset.build, form.querySelector(".answer")]);
  const [left, top] = [scrollX, scrollY];
  document.getElementById("main").replaceWith(document.adoptNode(page.getElementById("main")));
  for (const each of document.querySelectorAll("details[id]")) each.open = open.has(each.id);
  for (const [build, answer] of said) {
    const form = document.querySelector(`form.act[data-build="${CSS.escape(build)}"]`);
    if (form && answer.textContent) form.querySelector(".answer").replaceWith(answer);
  }
  version = page.body.dataset.version;
  shownAt = Date.now();
  ready();
  scrollTo(left, top);
}

async function stayFresh() {
  for (;;) {
    await pause(FRESH_MS);
    if (busy()) continue;
    try {
      const late = document.querySelector("[data-at], [data-since]") && Date.now() - shownAt > MINUTE_MS;
      const {body} = await json("version");
      if (late || (body.version && body.version !== version)) await showAnew(busy);
    } catch { /* the buildmaster is away: the next look may find it */ }
  }
}

// The address that people share: Buildbot's own, with ours in it

const here = () => location.pathname.split("/").pop() + location.search;
const shared = () => here() === "board" ? "#/deployments" : `#/deployments?at=${encodeURIComponent(here())}`;

function wanted() {
  const [path, query] = window.parent.location.hash.split("?");
  if (path !== "#/deployments") return "";
  const at = new URLSearchParams(query || "").get("at") || "board";
  return /^(board|deployment|charts|decisions)(\?|$)/.test(at) ? at : "";
}

function follow() {
  const at = wanted();
  if (!at || at === here()) return false;
  location.replace(at);
  return true;
}

function keepInStep() {
  const frame = framed();
  if (!frame) return;
  const clicked = document.referrer.startsWith(new URL(".", location.href).href);  // before a first page had its script
  const first = !frame.dataset.followed && !clicked;
  frame.dataset.followed = "yes";
  if (first && follow()) return;
  if (window.parent.location.hash.startsWith("#/deployments")) {
    window.parent.history.replaceState(window.parent.history.state, "", shared());
  }
  setInterval(follow, FOLLOW_MS);  // Buildbot's menu changes the address without an event
}

keepInStep();
ready();
showVisitor().catch(() => {});
stayFresh();
