# bulkscore-producer (the last stage) plans, submits, reconciles and reports, without torch;
# bulkscore-flower (`--target flower`) is the dashboard. Context: the repository. See docs/images.md.
# A release pins the base by digest: --build-arg BASE=python:3.12-slim-bookworm@sha256:…
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS libraries
# pip's own settings, for builds behind a mirror; nothing of them is in the images.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
ARG EXTRAS=
ENV PIP_PYTHON=/opt/bulkscore/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/bulkscore
COPY pyproject.toml constraints.txt LICENSE ./
# Empty packages: a change of our code leaves the layer of the libraries as it is.
RUN mkdir schemas producer worker \
    && /opt/pip/bin/pip install --only-binary :all: -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
    && /opt/pip/bin/pip uninstall --yes bulkscore

FROM libraries AS code
COPY schemas schemas
COPY producer producer
COPY worker worker
RUN /opt/pip/bin/pip install --no-deps --prefix /code .

FROM libraries AS flower-libraries
RUN /opt/pip/bin/pip install --only-binary :all: -c constraints.txt '.[flower]' \
    && /opt/pip/bin/pip uninstall --yes bulkscore

FROM ${BASE} AS runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 10001 bulkscore \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin bulkscore \
    && install --directory --owner 10001 --group 10001 --mode 0700 /run/bulkscore /var/cache/bulkscore
# HOME is the one place that libraries may take for their caches.
ENV PATH=/opt/bulkscore/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    BULKSCORE_RUN_DIR=/run/bulkscore \
    BULKSCORE_HTTP_ADDRESS=0.0.0.0
WORKDIR /tmp
ENTRYPOINT ["tini", "--", "bulkscore"]

FROM runtime AS flower
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bulkscore-flower" \
      org.opencontainers.image.description="Dashboard of bulkscore's workers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=flower-libraries /opt/bulkscore /opt/bulkscore
COPY --from=code /code /opt/bulkscore
ENV BULKSCORE_FLOWER_ADDRESS=0.0.0.0
USER 10001:10001
EXPOSE 5555
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('BULKSCORE_FLOWER_PORT', '5555') + '/healthcheck', timeout=4)"]
CMD ["flower"]

FROM runtime AS producer
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bulkscore-producer" \
      org.opencontainers.image.description="Plans, submits, reconciles and reports scoring jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=libraries /opt/bulkscore /opt/bulkscore
COPY --from=code /code /opt/bulkscore
USER 10001:10001
# Its commands come to an end, and their exit code says how; what serves asks for its own check.
HEALTHCHECK NONE
CMD ["--help"]
