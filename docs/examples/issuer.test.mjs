// Tests with a running mock issuer, without npm packages: node --test issuer.test.mjs
import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { before, beforeEach, test } from "node:test";
import { setTimeout } from "node:timers/promises";

const issuer = process.env.ISSUER ?? "http://127.0.0.1:9000";
const audience = "https://device-api.example";

async function control(operation, values = {}) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(values);
  const response = await fetch(`${issuer}/_mock/${operation}`, { method: "POST", headers, body });
  const answer = await response.json();
  assert.equal(response.status, 200, answer.error_description);
  return answer;
}

async function post(path, parameters) {
  const response = await fetch(`${issuer}${path}`, { method: "POST", body: new URLSearchParams(parameters) });
  return response.json();
}

// Replace this by a request to your API with `Authorization: Bearer ${token}`. It checks far less than an API must.
async function isAccepted(token) {
  const [header, payload, signature] = token.split(".");
  const { kid } = JSON.parse(Buffer.from(header, "base64url"));
  const { aud, exp } = JSON.parse(Buffer.from(payload, "base64url"));
  const { keys } = await (await fetch(`${issuer}/.well-known/jwks.json`)).json();
  const jwk = keys.find((key) => key.kid === kid);
  if (!jwk || aud !== audience || exp <= Date.now() / 1000) return false;
  const key = createPublicKey({ key: jwk, format: "jwk" });
  return verify("sha256", `${header}.${payload}`, key, Buffer.from(signature, "base64url"));
}

before(async () => {
  const deadline = Date.now() + 60_000;
  while (!(await fetch(`${issuer}/readyz`).catch(() => undefined))?.ok) {
    assert(Date.now() < deadline, `${issuer} does not answer`);
    await setTimeout(200);
  }
});

beforeEach(() => control("reset"));

test("a token is accepted; an expired one and one for another API are not", async () => {
  const mint = async (values) => (await control("token", { scope: "read:devices", ...values })).access_token;
  assert.equal(await isAccepted(await mint({})), true);
  assert.equal(await isAccepted(await mint({ expires_in: -60 })), false);
  assert.equal(await isAccepted(await mint({ audience: "https://other.example" })), false);
});

for (const [outcome, expected] of [["approve", undefined], ["deny", "access_denied"], ["expire", "expired_token"]]) {
  test(`the device flow, when the outcome is ${outcome}`, async () => {
    await control("script", { after_polls: 1, outcome });
    const client = { client_id: "device-app" };
    const { device_code, interval } = await post("/oauth/device/code", { ...client, audience, scope: "read:devices" });
    const grant = { ...client, device_code, grant_type: "urn:ietf:params:oauth:grant-type:device_code" };

    assert.equal((await post("/oauth/token", grant)).error, "authorization_pending");
    await control("advance_clock", { seconds: interval }); // in place of a wait
    const answer = await post("/oauth/token", grant);
    assert.equal(answer.error, expected);
    if (outcome === "approve") assert.equal(answer.token_type, "Bearer");
  });
}

test("a token of a withdrawn key is refused, one of the new key is accepted", async () => {
  const older = (await control("token")).access_token;
  await control("rotate_keys");
  const newer = (await control("token")).access_token;
  assert.deepEqual([await isAccepted(older), await isAccepted(newer)], [true, true]);
  await control("withdraw_key"); // the oldest
  assert.deepEqual([await isAccepted(older), await isAccepted(newer)], [false, true]);
});
