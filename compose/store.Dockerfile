# The example store under spanwise. Built from the repository's root:
#   docker build -f compose/store.Dockerfile -t spanwise-store:local .
FROM python:3.12.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# A fixed number, so that files on a volume keep their owner from one image to the next.
RUN useradd --system --uid 10001 --create-home --home-dir /srv/store store
WORKDIR /srv/store

# The package before the example: editing the store does not reinstall everything.
COPY pyproject.toml README.md LICENSE ./package/
COPY src ./package/src
RUN pip install './package[store]' && rm -r ./package

COPY examples/store ./examples/store

USER store
EXPOSE 8000
# /dev/shm: gunicorn's heartbeat files must not wait for a disk. Two workers, so that what is said of
# several processes (service.instance.id, counts that add up) is seen here too.
CMD ["spanwise", "run", "gunicorn", "--chdir", "examples/store", "--bind", "0.0.0.0:8000", \
     "--workers", "2", "--threads", "4", "--worker-tmp-dir", "/dev/shm", "--access-logfile", "-", \
     "app:create_app()"]
