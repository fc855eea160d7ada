// The television's key and its proofs of possession (RFC 9449). The private key never leaves the browser's store.

const KEY = { name: "ECDSA", namedCurve: "P-256" };
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" };

// Browsers make keys on https and loopback only.
export const canMakeKeys = Boolean(globalThis.crypto?.subtle);

export class ProofKey {
  // The newest nonce of each server (RFC 9449 §8.2).
  nonces = new Map();

  static async generate() {
    const made = new ProofKey();
    made.pair = await crypto.subtle.generateKey(KEY, false, ["sign", "verify"]);
    const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", made.pair.publicKey);
    made.jwk = { kty, crv, x, y };
    // RFC 7638 §3: the members in lexicographic order.
    made.thumbprint = base64url(await sha256(JSON.stringify({ crv, kty, x, y })));
    return made;
  }

  // A proof for one request (RFC 9449 §4.2).
  async proof(method, url, accessToken) {
    const { origin, pathname } = new URL(url);
    const claims = { jti: crypto.randomUUID(), htm: method, htu: origin + pathname, iat: Math.floor(Date.now() / 1000) };
    if (accessToken) claims.ath = base64url(await sha256(accessToken));
    if (this.nonces.has(origin)) claims.nonce = this.nonces.get(origin);
    const header = { typ: "dpop+jwt", alg: "ES256", jwk: this.jwk };
    const input = [header, claims].map((part) => base64url(new TextEncoder().encode(JSON.stringify(part)))).join(".");
    const signature = await crypto.subtle.sign(SIGNATURE, this.pair.privateKey, new TextEncoder().encode(input));
    return `${input}.${base64url(signature)}`;
  }

  remember(url, nonce) {
    if (nonce) this.nonces.set(new URL(url).origin, nonce);
  }
}

// Whether the key in the header of a proof verifies it.
export async function checkProof({ header, input, signature }) {
  const key = await crypto.subtle.importKey("jwk", header.jwk, KEY, false, ["verify"]);
  return crypto.subtle.verify(SIGNATURE, key, signature, new TextEncoder().encode(input));
}

const sha256 = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));

function base64url(buffer) {
  const binary = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
