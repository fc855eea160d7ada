# Two images; build in the root of the project. The last stage has the API only: nothing in it can sign a token.
#   docker build -t device-api .
#   docker run -p 8000:8000 -e API_ISSUERS=https://… -e API_AUDIENCE=https://… device-api
# First create or upgrade the database: append `python -m api db upgrade` to the same command.
#
# The mock issuer, for tests:
#   docker build -t mock-issuer --target mock-issuer .
#   docker run -p 127.0.0.1:9000:9000 mock-issuer --issuer http://127.0.0.1:9000/ --allow-control
# Whoever reaches its port can get any token, so publish it on loopback only.

FROM python:3.13-slim-bookworm AS build
COPY requirements/run.txt /tmp/run.txt
# Only wheels with pinned hashes: nothing is compiled, and nothing unpinned is installed.
RUN python -m venv /opt/api \
 && /opt/api/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/run.txt

FROM python:3.13-slim-bookworm AS mock-issuer-build
COPY requirements/mock-issuer.txt /tmp/mock-issuer.txt
RUN python -m venv /opt/mock-issuer \
 && /opt/mock-issuer/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/mock-issuer.txt

FROM python:3.13-slim-bookworm AS mock-issuer
RUN useradd --system --uid 10001 --home-dir /srv/mock-issuer mock-issuer \
 && install -d -o mock-issuer -g mock-issuer /srv/mock-issuer
COPY --from=mock-issuer-build /opt/mock-issuer /opt/mock-issuer
WORKDIR /srv/mock-issuer
COPY mock_issuer mock_issuer
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

FROM python:3.13-slim-bookworm
# A numeric id, so that platforms that refuse root can verify it.
RUN useradd --system --uid 10001 --home-dir /srv/api api \
 && install -d -o api -g api /srv/api /var/lib/device-api
COPY --from=build /opt/api /opt/api
WORKDIR /srv/api
COPY gunicorn.conf.py openapi.yaml ./
COPY api api
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
# gunicorn is process 1, so that SIGTERM reaches it and running requests finish.
CMD ["gunicorn", "-c", "gunicorn.conf.py", "api:create_app()"]
