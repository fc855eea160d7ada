// The documentation page: Swagger UI, and a token for it by the device authorization flow (RFC 8628).
"use strict";

const SCHEME = "bearer"; // its name under securitySchemes in openapi.yaml
const DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code";
const SLOW_DOWN_SECONDS = 5; // RFC 8628 §3.5

const element = (id) => document.getElementById(id);
const form = element("login-form");
let attempt = 0; // incremented by each login and cancellation: earlier attempts then stop

const ui = SwaggerUIBundle({
  url: "openapi.yaml",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null, // the validator would send this document to another host
  queryConfigEnabled: false,
});

function showStatus(text) {
  element("status").textContent = text;
}

function showCode(codes) {
  element("code").hidden = !codes;
  form.hidden = Boolean(codes);
  if (!codes) return;
  const address = new URL(codes.verification_uri_complete || codes.verification_uri);
  if (address.protocol !== "https:" && address.protocol !== "http:") throw new Error("The issuer's verification URL is not an http or https URL.");
  element("link").href = address.href;
  element("link").textContent = codes.verification_uri;
  element("user-code").textContent = codes.user_code;
}

// What the API reads from the token.
async function readToken(token) {
  const answer = await fetch("v1/me", { headers: { Authorization: `Bearer ${token.access_token}` }, credentials: "omit" });
  const me = await answer.json();
  if (!answer.ok) throw new Error(`The API refuses the issuer's token: ${me.detail}`);
  return me;
}

function showSession(me, name) {
  element("who").textContent = name ?? me.sub ?? me.client_id;
  element("client").textContent = me.client_id ?? "(unknown)";
  element("scopes").textContent = me.scopes.join(" ") || "(none)";
  element("session").hidden = false;
  form.hidden = true;
  element("log-out").focus();
}

// The claim `name` of an ID token, which the token endpoint sent to this page itself (OpenID Connect Core §3.1.3.7).
function nameIn(idToken) {
  if (!idToken) return undefined;
  const binary = atob(idToken.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)))).name;
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Metadata by OpenID Connect Discovery §4, else by RFC 8414 §3.1.
async function discover(issuer) {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, "");
  const urls = [
    `${origin}${path}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${path}`,
  ];
  for (const url of urls) {
    const answer = await fetch(url, { credentials: "omit" });
    if (!answer.ok) continue;
    const metadata = await answer.json();
    if (metadata.issuer === issuer && metadata.device_authorization_endpoint && metadata.token_endpoint) return metadata;
  }
  throw new Error("The issuer does not support the device flow, or its metadata names another issuer.");
}

async function post(url, fields) {
  const answer = await fetch(url, { method: "POST", body: new URLSearchParams(fields), credentials: "omit" });
  return { ok: answer.ok, body: await answer.json() };
}

async function poll(metadata, codes, client_id, isCurrent) {
  let interval = codes.interval || 5;
  const deadline = Date.now() + codes.expires_in * 1000;
  while (Date.now() < deadline) {
    await pause(interval);
    if (!isCurrent()) return null;
    let answer;
    try {
      answer = await post(metadata.token_endpoint, {
        grant_type: DEVICE_CODE, device_code: codes.device_code, client_id,
      });
    } catch {
      interval *= 2; // RFC 8628 §3.5: back off if the issuer cannot be reached
      continue;
    }
    if (answer.ok) return answer.body;
    if (answer.body.error === "slow_down") interval += SLOW_DOWN_SECONDS;
    else if (answer.body.error === "access_denied") throw new Error("The request was denied on the issuer's page.");
    else if (answer.body.error !== "authorization_pending") break;
  }
  throw new Error("The code has expired. Get a new one.");
}

async function logIn() {
  const thisAttempt = ++attempt;
  const isCurrent = () => thisAttempt === attempt;
  const { issuer, client_id, scope } = Object.fromEntries(new FormData(form));
  const { audience } = form.elements.issuer.selectedOptions[0].dataset;
  showStatus("Requesting a code…");
  try {
    const metadata = await discover(issuer);
    const codes = await post(metadata.device_authorization_endpoint, { client_id, scope, audience });
    if (!isCurrent()) return;
    if (!codes.ok) throw new Error(codes.body.error_description || codes.body.error);
    showCode(codes.body);
    showStatus("Waiting for your approval…");
    const token = await poll(metadata, codes.body, client_id, isCurrent);
    if (token === null) return;
    const me = await readToken(token);
    if (!isCurrent()) return;
    showCode(null);
    showSession(me, nameIn(token.id_token));
    ui.preauthorizeApiKey(SCHEME, token.access_token);
    showStatus("You are logged in. The requests below use the token.");
  } catch (error) {
    if (!isCurrent()) return;
    showCode(null);
    showStatus(error instanceof TypeError ? "The issuer cannot be reached from this page." : error.message);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  logIn();
});
element("log-out").addEventListener("click", () => {
  ui.authActions.logout([SCHEME]);
  element("session").hidden = true;
  form.hidden = false;
  showStatus("You are logged out: this page has forgotten the token.");
  form.querySelector("button").focus();
});
element("cancel").addEventListener("click", () => {
  attempt += 1;
  showCode(null);
  showStatus("");
});
