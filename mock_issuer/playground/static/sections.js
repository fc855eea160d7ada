// The section of an RFC that defines an exchange.

const SECTIONS = {
  deviceRequest: ["8628", "3.1", "Device Authorization Request"],
  interaction: ["8628", "3.3", "User Interaction"],
  completeUri: ["8628", "3.3.1", "Non-Textual Verification URI Optimization"],
  poll: ["8628", "3.4", "Device Access Token Request"],
  pollError: ["8628", "3.5", "Device Access Token Response"],
  phishing: ["8628", "5.4", "Remote Phishing"],
  tokenError: ["6749", "5.2", "Error Response"],
  refresh: ["6749", "6", "Refreshing an Access Token"],
  bearer: ["6750", "2.1", "Authorization Request Header Field"],
  challenge: ["6750", "3", "The WWW-Authenticate Response Header Field"],
  boundToken: ["9449", "5", "DPoP Access Token Request"],
  boundCall: ["9449", "7.1", "The DPoP Authentication Scheme"],
  nonce: ["9449", "8", "Authorization Server-Provided Nonce"],
  apisNonce: ["9449", "9", "Resource Server-Provided Nonce"],
  keySet: ["7517", "5", "JWK Set Format"],
};

// {name, url}, or null if no RFC defines the exchange.
export function sectionOf(request, answer) {
  const key = keyOf(request, answer);
  if (!key) return null;
  const [rfc, number, title] = SECTIONS[key];
  return { name: `RFC ${rfc}, section ${number}: ${title}`, url: `https://www.rfc-editor.org/rfc/rfc${rfc}#section-${number}` };
}

function keyOf({ url, headers, form }, { status, error, headers: answered = [] }) {
  const { pathname, searchParams } = new URL(url);
  const isError = status >= 400;
  if (headers.DPoP && headers.Authorization) return answered.some((line) => line.includes("use_dpop_nonce")) ? "apisNonce" : "boundCall";
  if (headers.DPoP && error === "use_dpop_nonce") return "nonce";
  if (headers.DPoP && pathname.endsWith("/oauth/token") && !isError) return "boundToken";
  if (headers.Authorization) return isError ? "challenge" : "bearer";
  if (pathname.endsWith("/oauth/device/code")) return isError ? "tokenError" : "deviceRequest";
  if (pathname.endsWith("/oauth/token")) {
    if (form.grant_type === "refresh_token") return isError ? "tokenError" : "refresh";
    return isError ? "pollError" : "poll";
  }
  if (pathname.endsWith("/jwks.json")) return "keySet";
  if (pathname.endsWith("/activate/confirm")) return "phishing";
  if (pathname.endsWith("/activate")) return searchParams.has("user_code") ? "completeUri" : "interaction";
  return pathname.includes("/activate/") ? "interaction" : null;
}
