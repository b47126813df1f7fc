"""What docker-compose.yml promises, read from the file itself: no engine and no network needed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# They do one thing and end, so there is no health to check and nothing to start again.
ONE_SHOT = {"load", "volumes-init"}
# One-shots that prepare volumes as root; nothing that stays up may.
ROOT_ALLOWED = {"volumes-init"}
# An image with a tag that names a version, not `latest`, `main` or a bare major number.
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+[\w.-]*$")

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def mounts(name: str) -> list[tuple[str, str, str]]:
    """(source, target, mode) of every volume of a service."""
    return [(*volume.split(":"), "rw")[:3] for volume in SERVICES[name].get("volumes", [])]  # type: ignore[misc]


def test_every_part_of_the_pipe_is_there() -> None:
    assert set(SERVICES) - ONE_SHOT == {
        *("store", "redis", "postgres", "collector", "jaeger", "prometheus", "alertmanager", "grafana")
    }


@each_service
def test_nothing_is_published_beyond_loopback(name: str) -> None:
    assert SERVICES[name].get("network_mode") != "host"
    for port in SERVICES[name].get("ports", []):
        assert str(port).startswith("127.0.0.1:"), f"{name} publishes {port}"


@each_service
def test_images_are_pinned(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")
        images = re.findall(r"^FROM\s+(\S+)", dockerfile, flags=re.MULTILINE)
    else:
        images = [service["image"]]
    assert images
    for image in images:
        assert PINNED.match(image), f"{name} uses {image}"


@each_service
def test_memory_is_limited(name: str) -> None:
    assert re.fullmatch(r"\d+m", SERVICES[name]["mem_limit"])


@each_service
def test_no_service_runs_as_root_or_may_become_it(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    if name in ROOT_ALLOWED:
        assert service["network_mode"] == "none"
        return
    if "build" in service:
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")
        user = re.findall(r"^USER\s+(\S+)", dockerfile, flags=re.MULTILINE)[-1]
    else:
        user = service["user"]
    assert user.split(":")[0] not in {"", "0", "root"}


@each_service
def test_what_stays_up_has_a_health_check_and_a_restart_policy(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    # No CMD-SHELL: some of these images have no shell.
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)


@each_service
def test_start_order_names_services_and_conditions_they_can_meet(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        condition = how["condition"]
        if other in ONE_SHOT:
            assert condition == "service_completed_successfully", f"{name} waits for {other}"
        else:
            assert condition in {"service_healthy", "service_started"}
            assert condition != "service_healthy" or "healthcheck" in SERVICES[other]


def test_start_order_has_no_ring() -> None:
    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        for other in SERVICES[name].get("depends_on", {}):
            walk(other, (*above, name))

    for name in SERVICES:
        walk(name, ())


def test_the_store_starts_without_a_healthy_collector() -> None:
    """The telemetry must never hold up the application."""
    assert SERVICES["store"]["depends_on"]["collector"]["condition"] == "service_started"


def test_load_runs_only_when_asked() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["load"]
    assert SERVICES["load"]["profiles"] == ["load"]


@each_service
def test_volumes_are_named_and_files_are_mounted_read_only(name: str) -> None:
    for source, target, mode in mounts(name):
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists(), f"{name} mounts {source}, which is not there"
            assert mode == "ro", f"{name} could write to {source}"
        else:
            assert source in COMPOSE["volumes"]


def test_every_named_volume_is_used() -> None:
    used = {source for name in SERVICES for source, _, _ in mounts(name) if not source.startswith(".")}
    assert used == set(COMPOSE["volumes"])


@each_service
def test_configuration_files_named_on_command_lines_are_mounted(name: str) -> None:
    targets = {target for _, target, _ in mounts(name)}
    for argument in SERVICES[name].get("command", []):
        named = re.match(r"--config(?:\.file)?=(.+)", argument)
        if named:
            assert named[1] in targets, f"{name} reads {named[1]}, which nothing mounts"


def test_passwords_come_from_the_environment() -> None:
    for name, service in SERVICES.items():
        for key, value in (service.get("environment") or {}).items():
            if "PASSWORD" in key:
                assert re.fullmatch(r"\$\{\w+:-\w+\}", value), f"{name}: {key} is written down"
    assert "${POSTGRES_PASSWORD:-" in SERVICES["store"]["environment"]["DATABASE_URL"]


def test_the_image_is_the_version_that_the_tests_validate_with() -> None:
    """The Collector and Jaeger that scripts/build-collector builds stand for the pinned images."""
    script = (ROOT / "scripts" / "build-collector").read_text(encoding="utf-8")
    collector = re.search(r"^COLLECTOR_VERSION=(\S+)", script, flags=re.MULTILINE)
    assert collector is not None
    assert SERVICES["collector"]["image"].rsplit(":", 1)[1] == collector[1]
    # Jaeger tags one commit twice: the Go module 1.76.0 is the image 2.13.0 (its changelog pairs them).
    jaeger = re.search(r"^JAEGER_VERSION=(\S+)", script, flags=re.MULTILINE)
    assert jaeger is not None
    assert (jaeger[1], SERVICES["jaeger"]["image"].rsplit(":", 1)[1]) == ("1.76.0", "2.13.0")


def test_go_services_collect_garbage_before_the_kernel_kills_them() -> None:
    for name in ("collector", "jaeger"):
        soft = int(SERVICES[name]["environment"]["GOMEMLIMIT"].removesuffix("MiB"))
        hard = int(SERVICES[name]["mem_limit"].removesuffix("m"))
        assert 0.7 * hard <= soft <= 0.9 * hard


def test_the_image_is_built_from_files_that_are_there_and_not_ignored() -> None:
    build = SERVICES["store"]["build"]
    dockerfile = (ROOT / build["dockerfile"]).read_text(encoding="utf-8")
    # Docker reads this one for this Dockerfile; everything is ignored that it does not name with "!".
    ignored = (ROOT / f"{build['dockerfile']}.dockerignore").read_text(encoding="utf-8").splitlines()
    sources = {
        source
        for line in re.findall(r"^COPY\s+(.+)$", dockerfile, flags=re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert "src" in sources
    assert "*" in ignored
    for source in sources:
        assert (ROOT / source).exists(), f"the Dockerfile copies {source}, which is not there"
        assert f"!{source}" in ignored, f"{source} is copied but ignored"


def test_the_load_generator_takes_the_command_line() -> None:
    """With the defaults filled in and no request to send: it must not refuse the address or an option."""
    program, *arguments = [
        re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", argument) for argument in SERVICES["load"]["command"]
    ]
    assert program == "python"
    assert float(arguments[arguments.index("--requests") + 1]) > 0
    done = subprocess.run(
        [sys.executable, *arguments, "--requests", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
