// The device flow with oauth4webapi. Prints JSON, a line per step.
import { setTimeout as wait } from "node:timers/promises";
import * as oauth from "oauth4webapi";

const AUDIENCE = "https://device-api.example";
const print = (line) => console.log(JSON.stringify(line));

const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(process.argv[2]);
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure }),
);
const client = { client_id: "device-app" };
const authentication = oauth.None();

async function refresh(token) {
  const response = await oauth.refreshTokenGrantRequest(server, client, authentication, token, insecure);
  return oauth.processRefreshTokenResponse(server, client, response);
}

async function poll(codes) {
  let interval = codes.interval;
  for (;;) {
    await wait(interval * 1000);
    const response = await oauth.deviceCodeGrantRequest(server, client, authentication, codes.device_code, insecure);
    try {
      return await oauth.processDeviceCodeResponse(server, client, response);
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
try {
  const tokens = await poll(codes);
  const response = await oauth.userInfoRequest(server, client, tokens.access_token, insecure);
  const { sub } = oauth.getValidatedIdTokenClaims(tokens);
  const userinfo = await oauth.processUserInfoResponse(server, client, sub, response);
  const renewed = await refresh(tokens.refresh_token);
  print({ access_token: tokens.access_token, userinfo, renewed_access_token: renewed.access_token });
  const revocation = await oauth.revocationRequest(
    server,
    client,
    authentication,
    renewed.refresh_token,
    insecure,
  );
  await oauth.processRevocationResponse(revocation);
  await refresh(renewed.refresh_token);
} catch (error) {
  if (!error.error) throw error;
  print({ error: error.error });
}
