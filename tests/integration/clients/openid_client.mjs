// The device flow with openid-client, by its own polling loop. Prints JSON, a line per step.
import * as client from "openid-client";

const AUDIENCE = "https://device-api.example";
const print = (line) => console.log(JSON.stringify(line));

const config = await client.discovery(new URL(process.argv[2]), "device-app", undefined, client.None(), {
  execute: [client.allowInsecureRequests],
});
const codes = await client.initiateDeviceAuthorization(config, {
  audience: AUDIENCE,
  scope: "openid read:devices offline_access",
});
print({ user_code: codes.user_code });
try {
  const tokens = await client.pollDeviceAuthorizationGrant(config, codes);
  const userinfo = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token);
  print({ access_token: tokens.access_token, userinfo, renewed_access_token: renewed.access_token });
  await client.tokenRevocation(config, renewed.refresh_token);
  await client.refreshTokenGrant(config, renewed.refresh_token);
} catch (error) {
  if (!error.error) throw error;
  print({ error: error.error });
}
