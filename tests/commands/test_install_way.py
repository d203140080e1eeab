"""`kros-mcp install claude-desktop`: the terminal's proxies and certificate authorities go into the entry."""

import json
from pathlib import Path

import pytest
from commands_doubles import Command
from install_bench import INSTALL, servers

LOGIN = "ada:correct-horse@"


@pytest.fixture
def company(environment: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What a company's terminal has set, some of it relative to where it stands."""
    environment.chdir(tmp_path)
    environment.setenv("SSL_CERT_FILE", "company.pem")
    environment.setenv("SSL_CERT_DIR", "authorities:/etc/ssl/certs")
    told = {
        "HTTP_PROXY": "http://proxy.test:3128",
        "https_proxy": f"http://{LOGIN}proxy.test:3128",
        "ALL_PROXY": f"{LOGIN}proxy.test:1080",
        "no_proxy": "fd00::/8,*.corp",
    }
    for name, value in told.items():
        environment.setenv(name, value)
    environment.setenv("NO_PROXY", "")
    environment.setenv("TRAVIS_APT_PROXY", "http://apt.test")
    return told | {
        "SSL_CERT_FILE": f"{tmp_path}/company.pem",
        "SSL_CERT_DIR": f"{tmp_path}/authorities:/etc/ssl/certs",
    }


def env_of(config: Path) -> dict[str, str]:
    env: dict[str, str] = servers(config)["kros"]["env"]
    return {name: value for name, value in env.items() if not name.startswith("KROS_")}


def test_the_terminals_way_to_krosai_goes_into_the_entry(
    command: Command, desktop_config: Path, company: dict[str, str]
) -> None:
    ran = command(*INSTALL)

    assert ran.code == 0
    assert env_of(desktop_config) == company
    assert "correct-horse" not in ran.out + ran.err
    assert "https_proxy=http://***@proxy.test:3128" in ran.out
    assert "ALL_PROXY=***@proxy.test:1080" in ran.out
    lines = [line for line in ran.out.splitlines() if "login" in line]
    assert lines == ["  A proxy's login is in https_proxy, ALL_PROXY, and so in that file now: keep it from others."]
    assert "nothing was written" in command(*INSTALL).out


@pytest.mark.usefixtures("company", "desktop_config")
def test_print_shows_no_login_of_a_proxy(command: Command) -> None:
    ran = command(*INSTALL, "--print")

    assert ran.code == 0
    assert "correct-horse" not in ran.out + ran.err
    env = json.loads(ran.out)["mcpServers"]["kros"]["env"]
    assert env["https_proxy"] == "put the address of http://***@proxy.test:3128 here"
    assert env["HTTP_PROXY"] == "http://proxy.test:3128"


@pytest.mark.usefixtures("company")
def test_the_simulator_needs_no_way(command: Command, desktop_config: Path) -> None:
    assert command(*INSTALL, "--simulator").code == 0
    assert env_of(desktop_config) == {}


def test_what_the_terminal_sets_replaces_what_stood_there_in_either_case(
    command: Command, there: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("https_proxy", "http://old.test:1")
    environment.setenv("NO_PROXY", "old.test")
    command(*INSTALL)
    environment.delenv("https_proxy")
    environment.delenv("NO_PROXY")
    environment.setenv("HTTPS_PROXY", "http://new.test:2")

    assert command(*INSTALL).code == 0

    assert env_of(there) == {"HTTPS_PROXY": "http://new.test:2", "NO_PROXY": "old.test"}
