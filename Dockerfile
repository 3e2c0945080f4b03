# Why the base image is named by its tag, and how to build on one digest of it: docs/deploy.md#images.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock requirements-gevent.lock requirements-redis.lock requirements-postgres.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: \
       --require-hashes --requirement requirements.lock --requirement requirements-gevent.lock \
       --requirement requirements-redis.lock \
       --requirement requirements-postgres.lock \
    && /venv/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin argoproxy \
    && install -d -m 0700 -o argoproxy /state
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=5000
WORKDIR /app
COPY --from=build /venv /venv
COPY . .
# The command of the package: docker exec NAME argoproxy doctor.
RUN python -m compileall -q /app /venv \
    && printf '%s\n' '#!/venv/bin/python' 'import sys' 'sys.path.insert(0, "/app")' \
       'from argoproxy.cli.main import run' 'run()' > /venv/bin/argoproxy \
    && chmod 755 /venv/bin/argoproxy
ARG VERSION=0.3.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="argoproxy" \
      org.opencontainers.image.description="An OpenAI-compatible proxy in front of any LLM endpoint" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"
# By its number, which Kubernetes can check against runAsNonRoot.
USER 10001
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-m", "argoproxy.server.healthcheck"]
CMD ["python", "cot_proxy.py"]
