# Run-time dependencies only; the build fails if torch can be imported.

FROM python:3.11-slim AS build
# pyahocorasick and fasttext-predict ship wheels for common platforms; elsewhere they are compiled, as pdqhash always is.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
RUN python -m venv /opt/weir && /opt/weir/bin/pip install --no-cache-dir '.[images]' \
    && ! /opt/weir/bin/python -c "import torch" 2>/dev/null

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home weir && install -d -o weir -m 700 /data
COPY --from=build /opt/weir /opt/weir
COPY models/artifacts/default /opt/weir/model
ENV WEIR_MODEL_DIR=/opt/weir/model \
    WEIR_DATA_DIR=/data \
    WEIR_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1
USER weir
# The secret of receipts, feedback and learnt thresholds: what must outlive the container.
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["/opt/weir/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["/opt/weir/bin/weir"]
CMD ["serve"]
