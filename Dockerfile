# Why the base image is named by its tag, and how to build on one digest of it: docs/deploy.md#images.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock requirements-gevent.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: \
       --require-hashes --requirement requirements.lock --requirement requirements-gevent.lock \
    && /venv/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin argoproxy
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=5000
WORKDIR /app
COPY --from=build /venv /venv
COPY . .
RUN python -m compileall -q /app /venv
USER argoproxy
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-m", "argoproxy.server.healthcheck"]
CMD ["python", "cot_proxy.py"]
