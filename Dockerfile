# One image a controller: docker build --target source-controller -t fluvial/source-controller:0.1.0 .
# Needs nothing writable but the volumes that the chart mounts, and no root.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /venv
COPY requirements/run.txt requirements/run.txt
RUN /venv/bin/pip install --require-hashes -r requirements/run.txt
COPY shared shared
RUN /venv/bin/pip install --no-deps --no-build-isolation ./shared

FROM packages AS source-controller-packages
COPY source-controller source-controller
RUN /venv/bin/pip install --no-deps --no-build-isolation ./source-controller

FROM packages AS kustomize-controller-packages
COPY kustomize-controller kustomize-controller
RUN /venv/bin/pip install --no-deps --no-build-isolation ./kustomize-controller

FROM packages AS helm-controller-packages
COPY requirements/helm.txt requirements/helm.txt
RUN /venv/bin/pip install --only-binary :all: --require-hashes -r requirements/helm.txt
COPY helm-controller helm-controller
RUN /venv/bin/pip install --no-deps --no-build-isolation ./helm-controller

FROM packages AS notification-controller-packages
COPY notification-controller notification-controller
RUN /venv/bin/pip install --no-deps --no-build-isolation ./notification-controller

FROM python:${PYTHON}-slim AS base
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 65534:65534
WORKDIR /tmp

FROM base AS source-controller
COPY --from=source-controller-packages /venv /venv
ENTRYPOINT ["source-controller"]

FROM base AS kustomize-controller
COPY --from=kustomize-controller-packages /venv /venv
ENTRYPOINT ["kustomize-controller"]

FROM base AS helm-controller
COPY --from=helm-controller-packages /venv /venv
ENTRYPOINT ["helm-controller"]

FROM base AS notification-controller
COPY --from=notification-controller-packages /venv /venv
ENTRYPOINT ["notification-controller"]
