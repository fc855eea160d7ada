// JWTs: taken apart, and their signatures checked against the published keys.

const ALGORITHM = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

export const isJwt = (text) => typeof text === "string" && /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/.test(text);

export function decode(token) {
  const [header, payload] = token.split(".", 2).map((part) => JSON.parse(new TextDecoder().decode(bytes(part))));
  return { header, payload };
}

// Resolves to a sentence about the signature, and whether it holds.
export async function checkSignature(token) {
  const { header } = decode(token);
  if (!globalThis.crypto?.subtle) return { good: null, text: "not checked: this browser checks none outside https and loopback" };
  const set = await (await fetch("/.well-known/jwks.json")).json().catch(() => ({ keys: [] }));
  const jwk = set.keys?.find((key) => key.kid === header.kid);
  if (!jwk) return { good: false, text: `no published key has the id ${header.kid}` };
  const key = await crypto.subtle.importKey("jwk", jwk, ALGORITHM, false, ["verify"]);
  const [head, payload, signature] = token.split(".");
  const good = await crypto.subtle.verify(ALGORITHM, key, bytes(signature), new TextEncoder().encode(`${head}.${payload}`));
  return { good, text: good ? `holds, by the published key ${header.kid}` : "does not hold" };
}

function bytes(base64url) {
  const binary = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
