// The television: the device of the device authorization flow (RFC 8628).

import { chart } from "./chart.js";
import { byId, element } from "./dom.js";
import { ProofKey } from "./dpop.js";
import { send } from "./exchanges.js";
import { altered, decode, isJwt } from "./tokens.js";

const GRANT = "urn:ietf:params:oauth:grant-type:device_code";
// RFC 8628 §3.5: what each slow_down adds to the interval. §3.2: the interval if the issuer sends none.
const SLOW_DOWN_SECONDS = 5;
const INTERVAL_SECONDS = 5;
// RFC 8628 §3.5: after a failed poll, the wait doubles, up to this.
const LONGEST_BACKOFF_SECONDS = 60;
// Longer than the leeway that the API gives clocks.
const EXPIRED_SECONDS_AGO = 300;
const READINGS = 500;
const CHARTS = 3;
const NO_API = "The API does not answer: start it, and check that API_CORS_ORIGINS contains this page's origin.";

export class Television {
  constructor(settings, changed) {
    this.settings = settings;
    this.changed = changed;
    this.state = "idle";
  }

  // `request` has client_id, scope and audience, which the issuer checks. With `isBound`, the tokens are bound to a new
  // key of the television.
  async start(request, isBound) {
    this.stop();
    this.tokens = null;
    this.request = request;
    this.key = isBound ? await ProofKey.generate() : null;
    const form = Object.fromEntries(Object.entries(request).filter(([, value]) => value));
    const { status, body } = await this.send({ why: "The television requests a code.", method: "POST", url: "/oauth/device/code", form });
    if (status !== 200) return this.end(status ? `No code: ${answerOf(status, body)}` : "No code: the issuer does not answer.");
    this.device = body;
    this.interval = body.interval ?? INTERVAL_SECONDS;
    this.failures = 0;
    this.expiresAt = Date.now() + body.expires_in * 1000;
    byId("verification-uri").textContent = body.verification_uri.replace(/^https?:\/\//, "");
    byId("user-code").textContent = body.user_code;
    if (this.settings.scannable) {
      byId("qr").src = `/playground/qr.svg?${new URLSearchParams({ user_code: body.user_code })}`;
      byId("qr").alt = `QR code of ${body.verification_uri_complete}`;
    }
    this.enter("waiting", this.settings.scannable
      ? "The television shows its code. Scan it with your phone, or press a button above the phone on this page."
      : "The television shows its code. Press Open the link or Type the code, above the phone.");
    this.wait();
  }

  // Send a request, with a proof if there is a key; once more if the server wants its nonce in it (RFC 9449 §8, §9).
  async send(request, accessToken) {
    if (!this.key) return send({ from: "Television", ...request });
    const url = new URL(request.url, location.href).href;
    const attempt = async (why) => {
      const proof = await this.key.proof(request.method ?? "GET", url, accessToken);
      const sent = { ...request.sent, "DPoP proof": proof };
      const answer = await send({ from: "Television", ...request, why, headers: { ...request.headers, DPoP: proof }, sent });
      this.key.remember(url, answer.nonce);
      return answer;
    };
    const answer = await attempt(request.why);
    const isWanted = answer.body.error === "use_dpop_nonce" || answer.challenge?.includes('error="use_dpop_nonce"');
    return isWanted && answer.nonce ? attempt("The same again, with the server’s nonce in the proof.") : answer;
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
    const form = { grant_type: GRANT, device_code: device.device_code, client_id: this.request.client_id };
    const { status, body } = await this.send({ why, method: "POST", url: "/oauth/token", form });
    // Ignore the response if a new flow has started or another poll ended this one.
    if (this.device !== device || this.state !== "waiting") return;
    if (status === 200) return this.connect(body);
    if (body.error === "expired_token") return this.end("expired_token: the code has expired. Start again to get a new one.");
    if (body.error === "access_denied") return this.end("access_denied: you refused, so the television gets no token.");
    if (status === 0 || status >= 500) {
      this.failures += 1;
      const seconds = Math.min(this.interval * 2 ** this.failures, LONGEST_BACKOFF_SECONDS);
      this.say(`The issuer does not answer. The television polls again in ${seconds} seconds.`);
      return this.wait(seconds);
    }
    this.failures = 0;
    if (body.error === "slow_down") {
      this.interval += SLOW_DOWN_SECONDS;
      this.say(`Polled too fast: slow_down, ${SLOW_DOWN_SECONDS} s more. The television now polls every ${this.interval} seconds.`);
    } else if (body.error !== "authorization_pending") {
      return this.end(`No token: ${answerOf(status, body)}`);
    }
    this.wait();
  }

  async pollFast() {
    await this.poll("The television polls.");
    if (this.state === "waiting") await this.poll("The television polls again at once, before the interval has passed.");
  }

  async connect(tokens) {
    this.keep(tokens);
    this.device = null;
    const who = tokens.id_token ? decode(tokens.id_token).payload.name : "your account";
    byId("welcome").textContent = `Connected as ${who}`;
    this.enter("connected", `The poll got an access token, valid until ${this.validUntil()}. The television calls the API with it.`);
    await this.call(`Done. Access token valid until ${this.validUntil()}.`);
  }

  keep(tokens) {
    this.tokens = { ...this.tokens, ...tokens };
    this.endsAt = Date.now() + tokens.expires_in * 1000;
  }

  // Call the API with the access token. Resolves to the status of the response, 0 for none. `before` is what happened
  // before the call.
  async call(before = "") {
    this.showValidity();
    this.showChallenge(null);
    if (!this.settings.api) return this.callUserinfo(before);
    const { status, body, challenge } = await this.get("/v1/devices", "The television requests your devices.");
    this.showChallenge(challenge);
    if (status !== 200) {
      this.say(status ? `${before} The API refused the call: ${answerOf(status, body)}` : NO_API);
      return status;
    }
    byId("devices").replaceChildren(...body.items.map((device) =>
      element("li", {}, element("b", {}, device.name), ` ${[device.kind, device.location, device.status].filter(Boolean).join(" · ")}`)));
    this.say(`${before} The API accepted the token and answered: ${body.items.length} devices.`);
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

  async callUserinfo(before) {
    const { status, body, challenge } = await this.get("/userinfo", "The television requests your profile.");
    byId("token-state").textContent += " No API is configured (--api-url), so there are no devices to show.";
    this.showChallenge(challenge);
    this.say(status === 200 ? `${before} The issuer accepted the token.` : `${before} The issuer refused the call: ${answerOf(status, body)}`);
    return status;
  }

  get(path, why, token = this.tokens.access_token, sent = {}) {
    const headers = { Authorization: `${this.key ? "DPoP" : "Bearer"} ${token}` };
    return this.send({ why, url: this.settings.api + path, headers, sent, noAnswer: NO_API }, token);
  }

  // Somebody has copied the access token to the phone. The key stays in the television.
  async callStolen() {
    const path = this.settings.api ? "/v1/devices" : "/userinfo";
    const { status, body } = await send({
      from: "Phone", why: "The phone calls with the television’s token, without its key.", url: this.settings.api + path,
      headers: { Authorization: `Bearer ${this.tokens.access_token}` }, noAnswer: NO_API,
    });
    this.showChallenge(null);
    const lesson = status === 200
      ? "whoever has this token can use it. Start anew with a token that is bound to a key."
      : "the phone has the token, but not the key that it is bound to.";
    this.say(status ? `${codeOf(status, body)}: ${lesson}` : NO_API);
  }

  // Call the API once with a token that it should refuse, and show its challenge. The television keeps its own tokens.
  async callWith(name, token) {
    const path = this.settings.api ? "/v1/devices" : "/userinfo";
    const { status, body, challenge } = await this.get(path, `The television calls with ${name}.`, token, { [name]: token });
    this.showChallenge(challenge);
    const server = this.settings.api ? "the API" : "the issuer";
    const verdict = status === 200 ? "accepted" : "refused";
    this.say(status ? `${codeOf(status, body)}: ${server} ${verdict} ${name}.${challenge ? " Its challenge is on the screen." : ""}` : NO_API);
  }

  callAltered() {
    return this.callWith("an altered token", altered(this.tokens.access_token));
  }

  // The issuer's test control signs a token that has expired: nobody wants to wait for it.
  async callExpired(control) {
    const { client_id, audience } = this.request;
    const { scope, sub } = isJwt(this.tokens.access_token) ? decode(this.tokens.access_token).payload : this.tokens;
    const bound = this.key ? { claims: { cnf: { jkt: this.key.thumbprint } } } : {};
    const wanted = { client_id, scope, ...(sub && { sub }), ...bound, expires_in: -EXPIRED_SECONDS_AGO, ...(audience && { audience }) };
    const { status, body } = await control("token", wanted, "The test control signs a token that expired five minutes ago.");
    if (status === 200) await this.callWith("an expired token", body.access_token);
    else this.say(`The test control refused: ${answerOf(status, body)}`);
  }

  // RFC 6749 §6: a refresh may ask for fewer scopes; the refresh token keeps them all.
  async callWithoutScope() {
    const needed = this.settings.api ? "read:devices" : "openid";
    const scope = (this.tokens.scope ?? this.request.scope).split(" ").filter((word) => word !== needed).join(" ");
    const { access_token, refresh_token } = await this.exchangeRefreshToken(`The television asks for a token without ${needed}.`, { scope }) ?? {};
    if (!access_token) return;
    this.tokens.refresh_token = refresh_token ?? this.tokens.refresh_token;
    await this.callWith(`a token without the scope ${needed}`, access_token);
  }

  // Resolves to true if there is a new access token.
  async refresh(why = "The television exchanges its refresh token for new tokens.") {
    const tokens = await this.exchangeRefreshToken(why);
    if (!tokens) return false;
    this.keep(tokens);
    this.showValidity();
    this.say(`New access token, valid until ${this.validUntil()}.`);
    return true;
  }

  // Resolves to the new tokens, or null if there are none.
  async exchangeRefreshToken(why, more = {}) {
    const form = { grant_type: "refresh_token", refresh_token: this.tokens.refresh_token, client_id: this.request.client_id, ...more };
    const { status, body } = await this.send({ why, method: "POST", url: "/oauth/token", form });
    if (status === 200) return body;
    if (status === 0 || status >= 500) this.say("The issuer does not answer. Try again later.");
    else this.end("Its refresh token no longer works. Start again to connect the television.");
    return null;
  }

  showValidity() {
    const bound = this.key ? " It is bound to a key in this television." : "";
    byId("token-state").textContent = `Access token valid until ${this.validUntil()}.${bound}`;
  }

  showChallenge(challenge) {
    byId("refusal").hidden = !challenge;
    byId("challenge").textContent = challenge ?? "";
  }

  // The time of day, with the date unless it is today.
  validUntil() {
    const end = new Date(this.endsAt);
    const isToday = end.toDateString() === new Date().toDateString();
    const day = isToday ? {} : { day: "numeric", month: "short" };
    return end.toLocaleString(undefined, { ...day, hour: "2-digit", minute: "2-digit" });
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
    byId("now").textContent = message.trim();
  }
}

// What the issuer or the API answered, in one sentence.
function answerOf(status, body) {
  const reason = body.error_description ?? body.detail;
  return reason ? `${codeOf(status, body)}. ${reason}` : `${codeOf(status, body)}.`;
}

const codeOf = (status, { error }) => [status, error].filter(Boolean).join(" ");

// Not Map.groupBy, which browsers from before 2024 lack.
function groupByMetric(readings) {
  const groups = new Map();
  for (const reading of readings) groups.set(reading.metric, [...(groups.get(reading.metric) ?? []), reading]);
  return groups;
}
