# Two images; build in the root of the project. The last stage has the API only: nothing in it can sign a token.
#   docker build -t device-api .
#   docker run -p 8000:8000 -e API_ISSUERS=https://… -e API_AUDIENCE=https://… device-api
# With OpenTelemetry traces: docker build --build-arg REQUIREMENTS=run-tracing.txt -t device-api .
# First create or upgrade the database: append `python -m api db upgrade` to the same command.
#
# The mock issuer, for tests:
#   docker build -t mock-issuer --target mock-issuer .
#   docker run -p 127.0.0.1:9000:9000 mock-issuer --issuer http://127.0.0.1:9000/ --allow-control
# Whoever reaches its port can get any token, so publish it on loopback only.
#
# A tag can change between two builds, a digest cannot. docs/operation.md, "Image", says how to build from a digest.

ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# run-tracing.txt has what OpenTelemetry traces need too.
ARG REQUIREMENTS=run.txt
COPY requirements/${REQUIREMENTS} /tmp/run.txt
# Only wheels with pinned hashes: nothing is compiled, and nothing unpinned is installed. The pip that installs them stays
# in a folder that no image copies.
RUN python -m venv /opt/pip \
 && python -m venv --without-pip /opt/api \
 && /opt/pip/bin/pip --python /opt/api/bin/python install --no-cache-dir --require-hashes --only-binary :all: \
      -r /tmp/run.txt

FROM ${PYTHON_IMAGE} AS mock-issuer-build
COPY requirements/mock-issuer.txt /tmp/mock-issuer.txt
RUN python -m venv /opt/pip \
 && python -m venv --without-pip /opt/mock-issuer \
 && /opt/pip/bin/pip --python /opt/mock-issuer/bin/python install --no-cache-dir --require-hashes --only-binary :all: \
      -r /tmp/mock-issuer.txt

FROM ${PYTHON_IMAGE} AS mock-issuer
LABEL org.opencontainers.image.title="mock-issuer" \
      org.opencontainers.image.description="An OAuth 2.0 issuer with the device flow, for tests" \
      org.opencontainers.image.version="0.2.0.dev0" \
      org.opencontainers.image.licenses="MIT"
# No program may change its user: the base image's programs for that (su, mount, passwd, …) lose their setuid bits.
RUN useradd --system --uid 10001 --home-dir /srv/mock-issuer mock-issuer \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=mock-issuer-build /opt/mock-issuer /opt/mock-issuer
WORKDIR /srv/mock-issuer
COPY mock_issuer mock_issuer
# Compiled here, because the image writes nothing when it runs. Unchecked: no source changes inside an image.
RUN /opt/mock-issuer/bin/python -m compileall -q --invalidation-mode unchecked-hash mock_issuer
ENV PATH=/opt/mock-issuer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 9000
# With another --port or with --tls, set another check when you run it.
HEALTHCHECK --interval=2s --timeout=3s --start-period=10s CMD ["python", "-c", \
  "import urllib.request as r; r.urlopen('http://127.0.0.1:9000/readyz', timeout=2)"]
# Options that you append come after --host; it is process 1, so that SIGTERM reaches it.
ENTRYPOINT ["python", "-m", "mock_issuer", "--host", "0.0.0.0"]

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="device-api" \
      org.opencontainers.image.description="The device API: a resource server for OAuth 2.0 access tokens" \
      org.opencontainers.image.version="0.2.0.dev0" \
      org.opencontainers.image.licenses="MIT"
# A numeric id, so that platforms that refuse root can verify it. Platforms that choose the user themselves run it in
# group 0, which may write the database's folder too. The setuid bits: as above.
RUN useradd --system --uid 10001 --home-dir /srv/api api \
 && install -d -o api -g 0 -m 0770 /var/lib/device-api \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/api /opt/api
WORKDIR /srv/api
COPY gunicorn.conf.py openapi.yaml ./
COPY api api
RUN /opt/api/bin/python -m compileall -q --invalidation-mode unchecked-hash api
ENV PATH=/opt/api/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    API_DATABASE_URL=sqlite:////var/lib/device-api/device-api.db
VOLUME /var/lib/device-api
USER 10001
EXPOSE 8000
# Liveness, not readiness: an outage of the issuer or the database is no reason to restart the container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", \
  "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/livez\", timeout=2)"]
# It checks the settings and becomes gunicorn, as process 1, so that SIGTERM reaches it and running requests finish.
CMD ["python", "-m", "api", "serve"]
