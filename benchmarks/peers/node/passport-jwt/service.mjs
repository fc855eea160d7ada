import express from "express";
import jwksRsa from "jwks-rsa";
import passport from "passport";
import { ExtractJwt, Strategy } from "passport-jwt";

const { AUDIENCE, ISSUER, JWKS_URL, PORT } = process.env;

passport.use(
  new Strategy(
    {
      secretOrKeyProvider: jwksRsa.passportJwtSecret({
        cache: true,
        rateLimit: true,
        jwksRequestsPerMinute: 5,
        jwksUri: JWKS_URL,
      }),
      jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
      audience: AUDIENCE,
      issuer: ISSUER,
      algorithms: ["RS256"],
    },
    (claims, done) => done(null, { sub: claims.sub }),
  ),
);

const app = express();
app.get("/", passport.authenticate("jwt", { session: false }), (request, response) => {
  response.json({ sub: request.user.sub });
});
app.listen(Number(PORT), "127.0.0.1");
