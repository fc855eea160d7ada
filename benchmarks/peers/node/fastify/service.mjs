// As the README of @fastify/jwt combines it with get-jwks: the keys of the issuer that the token names.
import jwt from "@fastify/jwt";
import Fastify from "fastify";
import buildGetJwks from "get-jwks";

const fastify = Fastify();
const getJwks = buildGetJwks();

fastify.register(jwt, {
  decode: { complete: true },
  secret: (request, token) => {
    const { header, payload } = token;
    return getJwks.getPublicKey({ kid: header.kid, domain: payload.iss, alg: header.alg });
  },
});
fastify.addHook("onRequest", async (request, reply) => {
  try {
    await request.jwtVerify();
  } catch (error) {
    reply.send(error);
  }
});
fastify.get("/", async (request) => ({ sub: request.user.sub }));
fastify.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
