// The peer on Node: an Express route behind express-oauth2-jwt-bearer, and the same route unprotected.
import express from "express";
import { auth, requiredScopes } from "express-oauth2-jwt-bearer";

const { BENCH_ISSUER, BENCH_JWKS_URL, BENCH_AUDIENCE, PORT } = process.env;
const app = express();
const checked = auth({ issuer: BENCH_ISSUER, jwksUri: BENCH_JWKS_URL, audience: BENCH_AUDIENCE, tokenSigningAlg: "RS256" });
app.get("/", checked, requiredScopes("read:devices"), (_request, response) => response.send("ok"));
app.get("/plain", (_request, response) => response.send("ok"));
// Longer than a run, like the other servers.
app.listen({ port: Number(PORT), host: "127.0.0.1" }).keepAliveTimeout = 65_000;
