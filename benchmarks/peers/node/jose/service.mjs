// The library verifies tokens; reading the header and answering is this file's.
import { createServer } from "node:http";

import { createRemoteJWKSet, jwtVerify } from "jose";

const { AUDIENCE, ISSUER, JWKS_URL, PORT } = process.env;
const keys = createRemoteJWKSet(new URL(JWKS_URL));

const server = createServer(async (request, response) => {
  const token = /^bearer +(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined) {
    response.writeHead(401, { "WWW-Authenticate": "Bearer" }).end();
    return;
  }
  try {
    const { payload } = await jwtVerify(token, keys, { issuer: ISSUER, audience: AUDIENCE });
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify({ sub: payload.sub }));
  } catch {
    response.writeHead(401, { "WWW-Authenticate": 'Bearer error="invalid_token"' }).end();
  }
});
server.listen(Number(PORT), "127.0.0.1");
