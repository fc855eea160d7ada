// The device flow with node-auth0. It has no method for it: its own `request` sends the device request and the polls, as
// JSON. Its methods do the rest. Prints JSON, a line per step.
import { setTimeout as wait } from "node:timers/promises";
import { AuthApiError, AuthenticationClient, UserInfoClient } from "auth0";

const AUDIENCE = "https://device-api.example";
const print = (line) => console.log(JSON.stringify(line));

const domain = new URL(process.argv[2]).host;
// It demands a secret for refresh and revocation, of public clients too.
const { oauth } = new AuthenticationClient({ domain, clientId: "device-app", clientSecret: "unused" });

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await oauth.request({ path, method: "POST", headers, body: { client_id: "device-app", ...body } });
  return response.json();
}

async function poll(codes) {
  for (;;) {
    await wait(codes.interval * 1000);
    try {
      return await post("/oauth/token", {
        grant_type: "urn:ietf:params:oauth:grant-type:device_code",
        device_code: codes.device_code,
      });
    } catch (error) {
      if (error.error !== "authorization_pending") throw error;
    }
  }
}

const codes = await post("/oauth/device/code", { audience: AUDIENCE, scope: "openid read:devices offline_access" });
print({ user_code: codes.user_code });
try {
  const tokens = await poll(codes);
  const { data: userinfo } = await new UserInfoClient({ domain }).getUserInfo(tokens.access_token);
  const { data: renewed } = await oauth.refreshTokenGrant({ refresh_token: tokens.refresh_token });
  print({ access_token: tokens.access_token, userinfo, renewed_access_token: renewed.access_token });
  await oauth.revokeRefreshToken({ token: renewed.refresh_token });
  await oauth.refreshTokenGrant({ refresh_token: renewed.refresh_token });
} catch (error) {
  if (!(error instanceof AuthApiError)) throw error;
  print({ error: error.error });
}
