# A bundle behind HTTP: docker build -t grace-prerank . && docker run -p 127.0.0.1:8080:8080 -v FOLDER:/bundles:ro \
#     grace-prerank bundle=/bundles/NAME
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY prerank prerank
RUN python -m venv /service && /service/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.11-slim
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
