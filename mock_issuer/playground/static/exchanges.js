// The list of HTTP exchanges: requests that the page sends, and page loads of the phone.

import { byId, element } from "./dom.js";
import { samples } from "./samples.js";
import { sectionOf } from "./sections.js";
import { checkSignature, decode, isJwt } from "./tokens.js";

const SHOWN_HEADERS = ["WWW-Authenticate", "Retry-After", "DPoP-Nonce"];
let number = 0;
let latest = null;

// Send a request, show it, and resolve to {status, body, challenge, nonce}; status is 0 if there was no response. `sent`
// are tokens of the request to decode, by name.
export async function send({ from, why, method = "GET", url, headers = {}, form, json, sent, noAnswer }) {
  const request = { from, why, method, url: new URL(url, location.href).href, headers, form, json, sent };
  const item = show(request);
  let response;
  try {
    response = await fetch(request.url, {
      method,
      cache: "no-store",
      credentials: "omit",
      headers: json ? { ...headers, "Content-Type": "application/json" } : headers,
      body: form ? new URLSearchParams(form) : json ? JSON.stringify(json) : undefined,
    });
  } catch {
    item.answer({ status: 0, words: "no response", text: noAnswer ?? "No response from this address." });
    return { status: 0, body: {}, challenge: null, nonce: null };
  }
  const text = await response.text();
  let body = {};
  try {
    body = JSON.parse(text);
  } catch { /* not JSON: shown as text */ }
  const shown = SHOWN_HEADERS.filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}`);
  item.answer({ status: response.status, words: response.statusText, error: body.error, headers: shown, body, text });
  const [challenge, nonce] = ["WWW-Authenticate", "DPoP-Nonce"].map((name) => response.headers.get(name));
  return { status: response.status, body, challenge, nonce };
}

// Show a page load of the phone, which the browser sent.
export function showPageLoad(request, answer) {
  show({ headers: {}, ...request }).answer(answer);
}

function show(request) {
  byId("no-exchanges").hidden = true;
  number += 1;
  const outcome = element("span", { class: "status" }, "…");
  const details = element(
    "details",
    {},
    element(
      "summary",
      {},
      element("span", { class: "number" }, String(number)),
      element("span", { class: `from ${request.from.toLowerCase()}` }, request.from),
      element("span", { class: "line" }, element("b", {}, request.method), ` ${new URL(request.url).pathname}`),
      outcome,
      element("span", { class: "why" }, request.why),
    ),
    element("h3", {}, "Request"),
    element("pre", { tabindex: "0" }, requestText(request)),
    ...Object.entries(request.sent ?? {}).filter(([, token]) => isJwt(token)).map(([name, token]) => tokenView(name, token)),
  );
  const item = element("li", { value: String(number) }, details);
  if (latest?.opened) latest.details.open = false;
  details.open = true;
  byId("exchanges").prepend(item);
  const previous = latest;
  latest = { details, item, request, opened: true, times: 1 };
  const entry = latest;
  details.querySelector("summary").addEventListener("click", () => { entry.opened = false; });
  return { answer: (answer) => finish(entry, previous, outcome, answer) };
}

function finish(entry, previous, outcome, answer) {
  const { details, request } = entry;
  entry.outcome = `${answer.status} ${answer.error ?? ""}`;
  outcome.textContent = answer.status ? `${answer.status} ${answer.error ?? answer.words ?? ""}` : answer.words;
  outcome.classList.add(answer.status >= 200 && answer.status < 400 ? "good" : "bad");
  details.append(element("h3", {}, "Response"), element("pre", { tabindex: "0" }, answerText(answer)));
  const tokens = Object.entries(answer.body ?? {}).filter(([, value]) => isJwt(value));
  for (const [name, token] of tokens) details.append(tokenView(name, token));
  details.append(sectionView(sectionOf(request, answer)));
  // Exchanges with tokens stay open.
  if (tokens.length && entry.opened) entry.opened = false;
  if (!request.page) details.append(sampleView(request));
  // Pending polls in a row are shown as one, with a count.
  const same = previous?.outcome === entry.outcome && previous.request.url === request.url && answer.error === "authorization_pending";
  if (same) {
    entry.times = previous.times + 1;
    previous.item.remove();
    outcome.textContent += ` × ${entry.times}`;
  }
}

function requestText({ method, url, headers, form, json }) {
  const lines = [`${method} ${url}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${shorten(value)}`);
  if (form) lines.push("Content-Type: application/x-www-form-urlencoded", "", ...Object.entries(form).map(([name, value]) => `${name} = ${value}`));
  if (json) lines.push("Content-Type: application/json", "", JSON.stringify(json, null, 2));
  return lines.join("\n");
}

function answerText({ status, words, headers = [], body, text }) {
  const first = status ? `${status} ${words ?? ""}`.trim() : "";
  const isObject = body && Object.keys(body).length;
  const content = isObject ? JSON.stringify(body, (_, value) => (typeof value === "string" ? shorten(value) : value), 2) : text;
  return [first, ...headers, "", content].filter((line, index) => line || index > 0).join("\n").trim();
}

function shorten(value) {
  const token = value.replace(/^(Bearer|DPoP) /, "");
  return isJwt(token) ? value.replace(token, `${token.slice(0, 16)}… (${token.length} characters)`) : value;
}

function sectionView(section) {
  if (!section) return element("p", { class: "section" }, "No RFC defines this exchange: it belongs to this issuer.");
  const link = element("a", { href: section.url, target: "_blank", rel: "noopener noreferrer" }, section.name);
  return element("p", { class: "section" }, "Defined in ", link, ".");
}

function tokenView(name, token) {
  const [header, payload, signature] = token.split(".");
  const { header: head, payload: claims } = decode(token);
  const verdict = element("p", { class: "signature" }, "Signature: checking…");
  checkSignature(token).then(
    ({ good, text }) => {
      verdict.textContent = `Signature: ${text}.`;
      verdict.classList.add(good ? "good" : good === false ? "bad" : "quiet");
    },
    () => { verdict.textContent = "Signature: cannot be checked here."; },
  );
  return element(
    "div",
    { class: "token" },
    element("h3", {}, `${name}, decoded`),
    element(
      "p",
      { class: "jwt", role: "group", "aria-label": `${name}, encoded`, tabindex: "0" },
      element("span", { class: "part-header", title: "header" }, header),
      ".",
      element("span", { class: "part-payload", title: "payload" }, payload),
      ".",
      element("span", { class: "part-signature", title: "signature" }, signature),
    ),
    element(
      "div",
      { class: "parts" },
      element("pre", { class: "part-header", "aria-label": "Header", tabindex: "0" }, JSON.stringify(head, null, 2)),
      element("pre", { class: "part-payload", "aria-label": "Payload", tabindex: "0" }, claimsText(claims)),
    ),
    verdict,
  );
}

function claimsText(claims) {
  return JSON.stringify(claims, null, 2).replace(/("(?:exp|iat|nbf|auth_time)": )(\d+)(,?)$/gm, (_, name, seconds, comma) =>
    `${name}${seconds}${comma}   ← ${new Date(seconds * 1000).toLocaleString()}`);
}

function sampleView(request) {
  const view = element("details", { class: "samples" }, element("summary", {}, "As code"));
  for (const [language, code] of Object.entries(samples(request))) {
    const copy = element("button", { type: "button", class: "copy", "aria-label": `Copy the ${language}` }, "Copy");
    copy.addEventListener("click", async () => {
      copy.textContent = await navigator.clipboard?.writeText(code).then(() => "Copied", () => "Select it by hand") ?? "Select it by hand";
    });
    view.append(element("h3", {}, language, copy), element("pre", { tabindex: "0" }, code));
  }
  return view;
}
