# The API only: nothing in this image can sign a token. Build in the root of the project:
#   docker build -t device-api .
#   docker run -p 8000:8000 -e API_ISSUERS=https://… -e API_AUDIENCE=https://… device-api
# First create or upgrade the database: append `python -m api db upgrade` to the same command.

FROM python:3.13-slim-bookworm AS build
COPY requirements/run.txt /tmp/run.txt
# Only wheels with pinned hashes: nothing is compiled, and nothing unpinned is installed.
RUN python -m venv /opt/api \
 && /opt/api/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/run.txt

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
