# Agents: `marquee agents features` folds events, `marquee agents sink` writes the warehouse; metrics on port 8100.
#   docker build -f deploy/docker/agents.Dockerfile -t marquee-agents .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /app
COPY deploy/bootstrap.lock deploy/install.sh deploy/
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY marquee marquee
COPY streams streams
COPY serving serving
COPY training_bridge training_bridge
# everything by hash; then what only installs goes
RUN deploy/install.sh python /app/.venv requirements.lock \
    && /app/.venv/bin/uv pip uninstall --quiet --python /app/.venv/bin/python pip setuptools \
    && rm -f /app/.venv/bin/uv /app/.venv/bin/uvx

FROM python:3.11.13-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/marquee marquee
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 \
    MARQUEE_STATE=/var/lib/marquee/state MARQUEE_HOST=0.0.0.0
USER marquee
WORKDIR /var/lib/marquee
RUN mkdir state
EXPOSE 8100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8100/metrics', timeout=2)"]
ENTRYPOINT ["python", "-m", "marquee"]
CMD ["agents", "features", "--metrics-port", "8100"]
