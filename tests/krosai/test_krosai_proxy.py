"""Which way leads to KrosAI: what of the environment's proxies counts for its one host."""

import os
import sys

import pytest

from kros_mcp.errors import SettingsError
from kros_mcp.krosai.transport import find_proxy

PROXY = "http://proxy.test:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("no_proxy", "base_url", "is_direct"),
    [
        ("::1", "https://api.krosai.com/v1", False),
        ("[::1]", "https://api.krosai.com/v1", False),
        ("fd00::/8", "https://api.krosai.com/v1", False),
        ("2001:db8::/32", "https://api.krosai.com/v1", False),
        ("fd00::/8", "https://[fd12::5]/v1", True),
        ("[fd00::]/8", "https://[fd12::5]/v1", True),
        ("fd00::/8", "https://[fe80::5]/v1", False),
        ("2001:db8::/32", "https://[2001:db8:1::7]:8443/v1", True),
        ("[2001:db8::7]", "https://[2001:db8::7]/v1", True),
        ("2001:DB8:0::7", "https://[2001:db8::7]/v1", True),
        ("[2001:db8::7]:8443", "https://[2001:db8::7]:8443/v1", True),
        ("[2001:db8::7]:8443", "https://[2001:db8::7]/v1", False),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.1/8", "https://10.1.2.3/v1", True),
        ("10.1.2.3", "https://10.1.2.3/v1", True),
        ("10.1.2.3:443", "https://10.1.2.3/v1", True),
        ("10.1.2.3:80", "https://10.1.2.3/v1", False),
        ("10.0.0.0/99", "https://10.1.2.3/v1", False),
        ("3", "https://10.1.2.3/v1", False),
        ("10.0.0.0/8", "https://api.krosai.com/v1", False),
        ("*.corp", "https://kros.corp/v1", True),
        ("*.corp", "https://corp/v1", False),
        (".corp", "https://kros.corp/v1", True),
        (".corp", "https://corp/v1", False),
        ("corp", "https://kros.corp/v1", True),
        ("corp", "https://corp/v1", True),
        ("corp", "https://kroscorp/v1", False),
        ("CORP.", "https://kros.corp./v1", True),
        ("kros.corp:8443", "https://kros.corp:8443/v1", True),
        ("kros.corp:8443", "https://kros.corp/v1", False),
        ("kros.corp:443", "https://kros.corp/v1", True),
        ("kros.corp:x", "https://kros.corp/v1", False),
        ("https://kros.corp", "https://kros.corp/v1", True),
        ("http://kros.corp", "https://kros.corp/v1", False),
        ("all://kros.corp/", "https://kros.corp/v1", True),
        ("  kros.corp , ", "https://kros.corp/v1", True),
        ("other.corp kros.corp", "https://kros.corp/v1", True),
        ("", "https://kros.corp/v1", False),
        (",. , :,[],[,/,*:x", "https://kros.corp/v1", False),
        ("*", "https://kros.corp/v1", True),
        ("*", "https://[fd12::5]/v1", True),
        ("other.corp,*", "https://kros.corp/v1", True),
        ("", "http://127.0.0.1:8001/v1", True),
        ("", "http://localhost:8001/v1", True),
        ("", "https://[::1]/v1", True),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_an_entry_of_no_proxy_exempts_the_hosts_that_it_names(
    environment: pytest.MonkeyPatch, name: str, no_proxy: str, base_url: str, *, is_direct: bool
) -> None:
    environment.setenv("HTTPS_PROXY", PROXY)
    environment.setenv("http_proxy", PROXY)
    environment.setenv(name, no_proxy)

    assert (find_proxy(base_url) is None) is is_direct


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    ("value", "url"),
    [
        (PROXY, PROXY),
        ("https://proxy.test", "https://proxy.test"),
        ("proxy.test:3128", PROXY),
        ("proxy.test", "http://proxy.test"),
        (f"  {PROXY}\n", PROXY),
        ("HTTP://proxy.test:3128", PROXY),
        ("http://ada:correct-horse@proxy.test:3128", "http://ada:correct-horse@proxy.test:3128"),
        ("ada:correct-horse@proxy.test:3128", "http://ada:correct-horse@proxy.test:3128"),
        ("socks5://proxy.test:1080", "socks5://proxy.test:1080"),
        ("socks5h://proxy.test", "socks5h://proxy.test"),
        ("socks://ada:correct-horse@proxy.test:1080", "socks5://ada:correct-horse@proxy.test:1080"),
        ("SOCKS://[fd00::1]:1080", "socks5://[fd00::1]:1080"),
    ],
)
def test_a_proxy_is_read_in_every_usual_spelling(
    environment: pytest.MonkeyPatch, name: str, value: str, url: str
) -> None:
    environment.setenv(name, value)

    proxy = find_proxy("https://api.krosai.com/v1")

    assert proxy is not None
    assert (proxy.url, proxy.source) == (url, name)
    assert "correct-horse" not in repr(proxy) + proxy.place


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        "nonsense://ada:correct-horse@proxy.test",
        "socks4://ada:correct-horse@proxy.test",
        "socks4a://ada:correct-horse@proxy.test",
        "http://ada:correct-horse@",
        "http://ada:correct-horse@proxy.test:port",
        "http://ada:correct-horse@proxy.test:99999",
        "http://ada:correct-horse@[fd00::1:3128",
        "http://ada:correct#horse@proxy.test:3128",
        f"socks5://ada:{'correct-horse' * 20}@proxy.test:1080",
        "://",
        "http://",
        "put the address of http://***@proxy here",
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable_and_no_word_of_it(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        find_proxy("https://api.krosai.com/v1")

    told = f"{caught.value.message} {caught.value.next_step}"
    assert name in told
    assert "KROS_BASE_URL" not in told
    assert not {"correct", "ada", "proxy.test"} & set(told.replace(":", " ").replace("@", " ").split())
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_what_is_not_needed_for_this_address_may_be_as_it_likes(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "nonsense://proxy.test")
    environment.setenv("ALL_PROXY", "nonsense://proxy.test")
    environment.setenv("HTTPS_PROXY", PROXY)
    proxy = find_proxy("https://api.krosai.com/v1")
    assert proxy is not None
    assert proxy.source == "HTTPS_PROXY"
    environment.setenv("HTTPS_PROXY", "nonsense://proxy.test")
    environment.setenv("NO_PROXY", "krosai.com")
    assert find_proxy("https://api.krosai.com/v1") is None


def test_the_lower_case_variable_counts_and_an_empty_one_takes_the_other_away(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("HTTPS_PROXY", "http://upper.test:1")
    environment.setenv("https_proxy", "http://lower.test:2")
    proxy = find_proxy("https://api.krosai.com/v1")
    assert proxy is not None
    assert (proxy.place, proxy.source) == ("lower.test:2", "https_proxy")
    environment.setenv("https_proxy", "")
    assert find_proxy("https://api.krosai.com/v1") is None


@pytest.mark.parametrize("value", ["socks5://proxy.test", "socks5h://proxy.test", "socks://proxy.test"])
def test_socks_without_its_library_says_which_extra_is_missing_unless_the_host_is_exempt(
    environment: pytest.MonkeyPatch, value: str
) -> None:
    environment.setitem(sys.modules, "socksio", None)
    environment.setenv("ALL_PROXY", value)
    with pytest.raises(SettingsError, match=r"ALL_PROXY .* SOCKS") as caught:
        find_proxy("https://api.krosai.com/v1")
    assert "kros-mcp[socks]" in caught.value.message
    assert "'.[all]'" in caught.value.next_step
    environment.setenv("NO_PROXY", "10.0.0.0/8,fd00::/8,*.krosai.com")
    assert find_proxy("https://api.krosai.com/v1") is None


def test_the_systems_own_settings_count_where_no_variable_does(environment: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows, where a host may be exempt too."""
    environment.setattr("kros_mcp.krosai.transport.getproxies", lambda: {"https": PROXY})
    environment.setattr("kros_mcp.krosai.transport.proxy_bypass", lambda host: host == "kros.corp")

    proxy = find_proxy("https://api.krosai.com/v1")

    assert proxy is not None
    assert proxy.source == "the system's settings"
    assert find_proxy("https://kros.corp/v1") is None
