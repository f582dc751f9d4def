# Two images. A bundle behind HTTP: docker build -t grace-prerank . && docker run -p 127.0.0.1:8080:8080 \
#     -v FOLDER:/bundles:ro grace-prerank bundle=/bundles/NAME
# What trains, audits and exports, as the console command: docker build --target train -t grace . && docker run \
#     --user "$(id -u):$(id -g)" -v "$PWD:/work" grace pretrain run=mine data=contract data.path=LOGS
# For GPUs: --build-arg FAISS=gpu --build-arg TORCH_INDEX= (then torch comes with 3 GB of CUDA).
FROM python:3.11-slim AS build-train
ARG FAISS=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /source
COPY constraints.txt ./
# torch first and alone: a change of the code does not fetch it again.
RUN python -m venv /grace && /grace/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY graph graph
COPY pretrain pretrain
COPY prerank prerank
COPY index index
RUN /grace/bin/pip install --no-cache-dir -c constraints.txt ".[$FAISS,serve,tracking]"

FROM python:3.11-slim AS train
# OpenMP, which LightGBM loads.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build-train /grace /grace
# Nobody, whose code cannot be written: Numba keeps what it compiles elsewhere. Runs lie in the folder that is mounted.
ENV HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba
USER 65534:65534
WORKDIR /work
ENTRYPOINT ["/grace/bin/grace"]
CMD ["--help"]

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY prerank prerank
RUN python -m venv /service && /service/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.11-slim AS serve
COPY --from=build /service /service
# Nobody: it reads its bundle and writes nothing.
USER 65534:65534
WORKDIR /
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=2s --start-period=30s \
    CMD ["/service/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/ready', timeout=2)"]
# SIGTERM finishes what was taken; SIGHUP takes a new bundle at once; SIGUSR2 goes back to the one before.
ENTRYPOINT ["/service/bin/python", "-m", "prerank.serve", "service.host=0.0.0.0"]
CMD ["bundle=/bundles/grace"]
