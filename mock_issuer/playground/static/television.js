// The television: the device of the device authorization flow (RFC 8628).

import { chart } from "./chart.js";
import { byId, element } from "./dom.js";
import { send } from "./exchanges.js";
import { decode } from "./tokens.js";

const GRANT = "urn:ietf:params:oauth:grant-type:device_code";
// RFC 8628 §3.5: what each slow_down adds to the interval. §3.2: the interval if the issuer sends none.
const SLOW_DOWN_SECONDS = 5;
const INTERVAL_SECONDS = 5;
// RFC 8628 §3.5: after a failed poll, the wait doubles, up to this.
const LONGEST_BACKOFF_SECONDS = 60;
const READINGS = 500;
const CHARTS = 3;
const NO_API = "The API does not answer: start it, and check that API_CORS_ORIGINS contains this page's origin.";

export class Television {
  constructor(settings, changed) {
    this.settings = settings;
    this.changed = changed;
    this.state = "idle";
  }

  async start() {
    this.stop();
    this.tokens = null;
    const { client_id, audience, scope } = this.settings;
    const form = { client_id, scope, ...(audience && { audience }) };
    const { status, body } = await send({
      from: "Television", why: "The television requests a code.", method: "POST", url: "/oauth/device/code", form,
    });
    if (status !== 200) return this.end(`No code: ${body.error_description ?? "the issuer does not answer."}`);
    this.device = body;
    this.interval = body.interval ?? INTERVAL_SECONDS;
    this.failures = 0;
    this.expiresAt = Date.now() + body.expires_in * 1000;
    byId("verification-uri").textContent = body.verification_uri.replace(/^https?:\/\//, "");
    byId("user-code").textContent = body.user_code;
    byId("qr").src = `/playground/qr.svg?${new URLSearchParams({ user_code: body.user_code })}`;
    byId("qr").alt = `QR code of ${body.verification_uri_complete}`;
    this.enter("waiting", "The television shows its code. Scan it with the phone, or type it there.");
    this.wait();
  }

  // Poll after this many seconds.
  wait(seconds = this.interval) {
    this.stop();
    this.nextPoll = Date.now() + seconds * 1000;
    this.timer = setInterval(() => this.tick(), 250);
    this.tick();
  }

  stop() {
    clearInterval(this.timer);
  }

  tick() {
    const left = Math.max(0, Math.ceil((this.expiresAt - Date.now()) / 1000));
    const wait = Math.max(0, Math.ceil((this.nextPoll - Date.now()) / 1000));
    byId("countdown").textContent = `Valid for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} min.`;
    byId("poll-state").textContent = wait ? `Polls again in ${wait} s.` : "Polls…";
    if (Date.now() >= this.nextPoll) this.poll();
  }

  async poll(why = "The television polls: have you approved?") {
    this.stop();
    const { device } = this;
    const form = { grant_type: GRANT, device_code: device.device_code, client_id: this.settings.client_id };
    const { status, body } = await send({ from: "Television", why, method: "POST", url: "/oauth/token", form });
    // Ignore the response if a new flow has started or another poll ended this one.
    if (this.device !== device || this.state !== "waiting") return;
    if (status === 200) return this.connect(body);
    if (body.error === "expired_token") return this.end("The code has expired. Start again for a new one.");
    if (body.error === "access_denied") return this.end("You refused, so the television has no access.");
    if (status === 0 || status >= 500) {
      this.failures += 1;
      const seconds = Math.min(this.interval * 2 ** this.failures, LONGEST_BACKOFF_SECONDS);
      this.say(`The issuer does not answer. The television polls again in ${seconds} seconds.`);
      return this.wait(seconds);
    }
    this.failures = 0;
    if (body.error === "slow_down") {
      this.interval += SLOW_DOWN_SECONDS;
      this.say(`Too fast: the television now polls every ${this.interval} seconds.`);
    } else if (body.error !== "authorization_pending") {
      return this.end(`The login failed: ${body.error_description ?? body.error ?? `the issuer answered ${status}`}`);
    }
    this.wait();
  }

  async pollFast() {
    await this.poll("The television polls.");
    if (this.state === "waiting") await this.poll("The television polls again at once, before the interval has passed.");
  }

  async connect(tokens) {
    this.tokens = tokens;
    this.device = null;
    const who = tokens.id_token ? decode(tokens.id_token).payload.name : "your account";
    byId("welcome").textContent = `Connected as ${who}`;
    this.enter("connected", "Connected. The television calls the API with its token.");
    await this.call();
  }

  // Resolves to the status of the response, 0 for none.
  async call() {
    byId("token-state").textContent = `Access token valid until ${this.validUntil()}.`;
    if (!this.settings.api) return this.callUserinfo();
    const { status, body } = await this.get("/v1/devices", "The television requests your devices.");
    if (status !== 200) {
      this.say(status ? `The API answered with status ${status}.` : NO_API);
      return status;
    }
    byId("devices").replaceChildren(...body.items.map((device) =>
      element("li", {}, element("b", {}, device.name), ` ${[device.kind, device.location, device.status].filter(Boolean).join(" · ")}`)));
    this.say(`The API answered: ${body.items.length} devices.`);
    for (const device of body.items) if (this.state !== "connected" || await this.draw(device)) break;
    return status;
  }

  async draw(device) {
    const path = `/v1/devices/${encodeURIComponent(device.id)}/readings?limit=${READINGS}`;
    const { status, body } = await this.get(path, `The television requests the readings of ${device.name}.`);
    if (status !== 200 || body.items.length === 0) return false;
    const metrics = groupByMetric(body.items);
    const charts = [...metrics].slice(0, CHARTS).map(([metric, readings]) => chart(metric, readings));
    byId("charts").replaceChildren(element("h3", {}, device.name), ...charts);
    return true;
  }

  async callUserinfo() {
    const headers = { Authorization: `Bearer ${this.tokens.access_token}` };
    const { status } = await send({ from: "Television", why: "The television requests your profile.", url: "/userinfo", headers });
    byId("token-state").textContent += " No API is configured (--api-url), so there are no devices to show.";
    this.say(status === 200 ? "The issuer accepted the token." : `The issuer answered with status ${status}.`);
    return status;
  }

  get(path, why) {
    const headers = { Authorization: `Bearer ${this.tokens.access_token}` };
    return send({ from: "Television", why, url: this.settings.api + path, headers, noAnswer: NO_API });
  }

  // Resolves to true if there is a new token.
  async refresh(why = "The television exchanges its refresh token for new tokens.") {
    const form = { grant_type: "refresh_token", refresh_token: this.tokens.refresh_token, client_id: this.settings.client_id };
    const { status, body } = await send({ from: "Television", why, method: "POST", url: "/oauth/token", form });
    if (status === 0 || status >= 500) {
      this.say("The issuer does not answer. Try again later.");
      return false;
    }
    if (status !== 200) {
      this.end("Its refresh token is no longer valid. Start again to connect it.");
      return false;
    }
    this.tokens = { ...this.tokens, ...body };
    byId("token-state").textContent = `Access token valid until ${this.validUntil()}.`;
    this.say("The television has new tokens; its old refresh token is no longer valid.");
    return true;
  }

  validUntil() {
    return new Date(decode(this.tokens.access_token).payload.exp * 1000).toLocaleString();
  }

  end(reason) {
    this.stop();
    this.device = null;
    this.tokens = null;
    byId("idle-reason").textContent = reason;
    byId("start").textContent = "Start again";
    this.enter("idle", reason);
  }

  enter(state, message) {
    this.state = state;
    byId("view-idle").hidden = state !== "idle";
    byId("view-code").hidden = state !== "waiting";
    byId("view-connected").hidden = state !== "connected";
    if (state === "connected") {
      byId("devices").replaceChildren();
      byId("charts").replaceChildren();
    }
    this.say(message);
    this.changed(state);
  }

  say(message) {
    byId("now").textContent = message;
  }
}

// Not Map.groupBy, which browsers from before 2024 lack.
function groupByMetric(readings) {
  const groups = new Map();
  for (const reading of readings) groups.set(reading.metric, [...(groups.get(reading.metric) ?? []), reading]);
  return groups;
}
