# bulkscore-worker scores chunks, and trains, evaluates and compresses models, on CPUs or on a GPU.
# Context: the repository. See docs/images.md.
# A release pins the base by digest: --build-arg BASE=python:3.12-slim-bookworm@sha256:…
# CUDA needs no base of its own: torch's wheels bring all but the driver.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS libraries
# pip's own settings, for builds behind a mirror; nothing of them is in the image.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
# Which build of torch: `torch==2.13.0+cpu`, `torch==2.13.0+cu126`, … as the indexes given hold it.
ARG TORCH=torch
ARG EXTRAS=worker,train
ENV PIP_PYTHON=/opt/bulkscore/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/bulkscore
COPY constraints.txt ./
# A layer of its own: it is the largest and changes least.
RUN /opt/pip/bin/pip install --only-binary :all: -c constraints.txt "${TORCH}"
COPY pyproject.toml LICENSE ./
# Empty packages: a change of our code leaves the layer of the libraries as it is.
RUN mkdir schemas producer worker \
    && /opt/pip/bin/pip install --only-binary :all: -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
    && /opt/pip/bin/pip uninstall --yes bulkscore

FROM libraries AS code
COPY schemas schemas
COPY producer producer
COPY worker worker
RUN /opt/pip/bin/pip install --no-deps --prefix /code .

FROM ${BASE} AS worker
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bulkscore-worker" \
      org.opencontainers.image.description="Scores chunks of texts, trains and compresses models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 10001 bulkscore \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin bulkscore \
    && install --directory --owner 10001 --group 10001 --mode 0700 /run/bulkscore /var/cache/bulkscore
COPY --from=libraries /opt/bulkscore /opt/bulkscore
COPY --from=code /code /opt/bulkscore
# HOME is the one place that libraries may take for their caches: compiled kernels, fonts, locks.
ENV PATH=/opt/bulkscore/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    BULKSCORE_RUN_DIR=/run/bulkscore \
    BULKSCORE_MODEL_CACHE_DIR=/var/cache/bulkscore \
    BULKSCORE_HTTP_ADDRESS=0.0.0.0 \
    BULKSCORE_HTTP_PORT=9464
WORKDIR /tmp
USER 10001:10001
EXPOSE 9464
# A worker that loads a large model starts slowly; a broker that is away does not make it ill.
HEALTHCHECK --interval=30s --timeout=5s --start-period=300s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['BULKSCORE_HTTP_PORT'] + '/livez', timeout=4)"]
ENTRYPOINT ["tini", "--", "bulkscore"]
CMD ["worker"]
