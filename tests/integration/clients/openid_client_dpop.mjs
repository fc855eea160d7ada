// The device flow with openid-client and DPoP, and a request to the API. Prints JSON, a line per step. The library answers
// `use_dpop_nonce` by itself.
import * as client from "openid-client";

const AUDIENCE = "https://device-api.example";
const print = (line) => console.log(JSON.stringify(line));

const [issuer, api] = process.argv.slice(2);
const config = await client.discovery(new URL(issuer), "device-app", undefined, client.None(), {
  execute: [client.allowInsecureRequests],
});
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
const codes = await client.initiateDeviceAuthorization(config, {
  audience: AUDIENCE,
  scope: "openid read:devices offline_access",
});
print({ user_code: codes.user_code });
const tokens = await client.pollDeviceAuthorizationGrant(config, codes, undefined, { DPoP });
const userinfo = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
const renewed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
const statuses = [];
for (const path of ["/v1/me", "/v1/devices?limit=2"]) {
  const url = new URL(api + path);
  const response = await client.fetchProtectedResource(
    config,
    renewed.access_token,
    url,
    "GET",
    undefined,
    undefined,
    { DPoP },
  );
  statuses.push(response.status);
}
print({ access_token: renewed.access_token, token_type: renewed.token_type, userinfo, statuses });
await client.tokenRevocation(config, renewed.refresh_token);
try {
  await client.refreshTokenGrant(config, renewed.refresh_token, undefined, { DPoP });
} catch (error) {
  if (!error.error) throw error;
  print({ error: error.error });
}
