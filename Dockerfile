# Two stages: the first builds the virtual environment, the second holds only what runs. Not root; the store and the settings are in /var/lib/betz,
# and nothing else is written: it runs on a read-only root file system without any capability (config/compose.yaml).
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/betz \
 && /opt/betz/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY node node
COPY analysis analysis
COPY config config
RUN /opt/betz/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 libseccomp2 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /var/lib/betz --create-home betz
COPY --from=build /opt/betz /opt/betz
ENV PATH=/opt/betz/bin:$PATH HOME=/var/lib/betz BETZ_HOME=/var/lib/betz/store PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER betz
WORKDIR /var/lib/betz
VOLUME /var/lib/betz
EXPOSE 11112
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=20s --retries=3 \
  CMD ["betz", "check", "--listener", "--config", "/var/lib/betz/betz.toml"]
ENTRYPOINT ["betz"]
CMD ["serve", "--config", "/var/lib/betz/betz.toml"]
