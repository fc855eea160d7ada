// Decodes JWTs and checks their signatures: those of tokens with the published keys, those of proofs with their own.

import { checkProof } from "./dpop.js";

const ALGORITHM = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

export const isJwt = (text) => typeof text === "string" && /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/.test(text);

export function decode(token) {
  const [header, payload] = token.split(".", 2).map((part) => JSON.parse(new TextDecoder().decode(bytes(part))));
  return { header, payload };
}

// The token with another subject and the old signature, as somebody without the issuer's key would make it.
export function altered(token) {
  if (!isJwt(token)) return token.slice(0, -1) + (token.endsWith("A") ? "B" : "A");
  const [header, , signature] = token.split(".");
  const claims = { ...decode(token).payload, sub: "somebody-else" };
  const payload = btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(claims))));
  return [header, payload.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""), signature].join(".");
}

// Resolves to {good, text}: whether the signature is valid (null if not checked), and a description.
export async function checkSignature(token) {
  const { header } = decode(token);
  if (!globalThis.crypto?.subtle) return { good: null, text: "not checked: browsers can check signatures on https and loopback only" };
  const [head, payload, signature] = token.split(".");
  if (header.typ === "dpop+jwt") {
    const good = await checkProof({ header, input: `${head}.${payload}`, signature: bytes(signature) });
    return { good, text: good ? "valid, by the key in its header" : "invalid" };
  }
  const set = await (await fetch("/.well-known/jwks.json")).json().catch(() => ({ keys: [] }));
  const jwk = set.keys?.find((key) => key.kid === header.kid);
  if (!jwk) return { good: false, text: `no published key has the id ${header.kid}` };
  const key = await crypto.subtle.importKey("jwk", jwk, ALGORITHM, false, ["verify"]);
  const good = await crypto.subtle.verify(ALGORITHM, key, bytes(signature), new TextEncoder().encode(`${head}.${payload}`));
  return { good, text: good ? `valid, by the published key ${header.kid}` : "invalid" };
}

function bytes(base64url) {
  const binary = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
