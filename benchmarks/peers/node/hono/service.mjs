import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { jwk } from "hono/jwk";

const { AUDIENCE, ISSUER, JWKS_URL, PORT } = process.env;
const app = new Hono();

// Without `typ`, the middleware accepts tokens of the type JWT alone.
const verification = { iss: ISSUER, aud: AUDIENCE, typ: "at+jwt" };
app.use(jwk({ jwks_uri: JWKS_URL, alg: ["RS256"], verification }));
app.get("/", (context) => context.json({ sub: context.get("jwtPayload").sub }));
serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(PORT) });
