// The device flow with oauth4webapi and DPoP, and a request to the API. Prints JSON, a line per step. The library keeps the
// nonces; the caller repeats a request that lacked one.
import { setTimeout as wait } from "node:timers/promises";
import * as oauth from "oauth4webapi";

const AUDIENCE = "https://device-api.example";
const print = (line) => console.log(JSON.stringify(line));

const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(process.argv[2]);
const api = process.argv[3];
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure }),
);
const client = { client_id: "device-app" };
const authentication = oauth.None();
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));

async function withNonce(send) {
  try {
    return await send();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return send();
  }
}

const refresh = (token) =>
  withNonce(async () => {
    const options = { DPoP, ...insecure };
    const response = await oauth.refreshTokenGrantRequest(server, client, authentication, token, options);
    return oauth.processRefreshTokenResponse(server, client, response);
  });

async function poll(codes) {
  let interval = codes.interval;
  for (;;) {
    await wait(interval * 1000);
    try {
      return await withNonce(async () => {
        const options = { DPoP, ...insecure };
        const code = codes.device_code;
        const response = await oauth.deviceCodeGrantRequest(server, client, authentication, code, options);
        return oauth.processDeviceCodeResponse(server, client, response);
      });
    } catch (error) {
      if (error.error === "slow_down") interval += 5;
      else if (error.error !== "authorization_pending") throw error;
    }
  }
}

const parameters = new URLSearchParams({ audience: AUDIENCE, scope: "openid read:devices offline_access" });
const codes = await oauth.processDeviceAuthorizationResponse(
  server,
  client,
  await oauth.deviceAuthorizationRequest(server, client, authentication, parameters, insecure),
);
print({ user_code: codes.user_code });
const tokens = await poll(codes);
const { sub } = oauth.getValidatedIdTokenClaims(tokens);
const userinfo = await withNonce(async () => {
  const response = await oauth.userInfoRequest(server, client, tokens.access_token, { DPoP, ...insecure });
  return oauth.processUserInfoResponse(server, client, sub, response);
});
const renewed = await refresh(tokens.refresh_token);
const statuses = [];
for (const path of ["/v1/me", "/v1/devices?limit=2"]) {
  const options = { DPoP, ...insecure };
  const url = new URL(api + path);
  const response = await withNonce(() =>
    oauth.protectedResourceRequest(renewed.access_token, "GET", url, undefined, undefined, options),
  );
  statuses.push(response.status);
}
print({ access_token: renewed.access_token, token_type: renewed.token_type, userinfo, statuses });
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, renewed.refresh_token, insecure),
);
try {
  await refresh(renewed.refresh_token);
} catch (error) {
  if (!error.error) throw error;
  print({ error: error.error });
}
