// With STRICT=true the option `strict`, which checks tokens by RFC 9068; without it the library's defaults.
import express from "express";
import { auth, requiredScopes } from "express-oauth2-jwt-bearer";

const { AUDIENCE, ISSUER, PORT, SCOPE, STRICT } = process.env;
const app = express();

app.use(auth({ issuerBaseURL: ISSUER, audience: AUDIENCE, strict: STRICT === "true" }));
app.get("/", requiredScopes(SCOPE), (request, response) => {
  response.json({ sub: request.auth.payload.sub });
});
app.listen(Number(PORT), "127.0.0.1");
