"""The page and who may log in to it: [web]."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal, get_args

from pydantic import PlainValidator

from sipagent.config import types
from sipagent.config.keys import OptionalPath, RequiredText, Table, Text, key, optional, several

RoleName = Literal["listener", "supervisor", "officer", "administrator"]
ROLES: tuple[RoleName, ...] = get_args(RoleName)


def _origin(value: object) -> str:
    """Take an `https:` or `http:` URL that has no path; give it as browsers write an origin (RFC 6454)."""
    scheme, _, rest = types.web_url(value).removesuffix("/").lower().partition("://")
    if re.search(r"[/?]", rest):
        raise ValueError("has a path, where the page has none")
    name, port = re.fullmatch(r"(.*?)(?::(\d+))?", rest, re.ASCII).groups()  # type: ignore[union-attr]
    if name.startswith("["):
        name = f"[{types.host(name.strip('[]'))}]"
    usual = {"https": 443, "http": 80}[scheme]
    return f"{scheme}://{name}" + (f":{int(port)}" if port and int(port) != usual else "")


def is_here(url: str) -> bool:
    """Tell whether the host of a URL is this machine itself, whatever the network."""
    name = re.sub(r"^https?://|(:\d+)?([/?].*)?$", "", url).strip("[]")
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _issuer(value: object) -> str:
    """Take the URL of an issuer: `https:`, or `http:` on this machine; it is compared to the letter."""
    url = types.web_url(value)
    if url.startswith("http:") and not is_here(url):
        raise ValueError("is not an https URL")
    return url


class WebTable(Table):
    """Where `sipagent web` answers, behind what, and whose word counts at the login."""

    listen: Annotated[types.HostPort | None, optional(types.listen)] = key(
        "address:port such as 127.0.0.1:8443; absent: no page", None
    )
    url: Annotated[str | None, optional(_origin)] = key(
        "the page's https URL as people type it, without a path; absent: from listen", None
    )
    certificate: OptionalPath = key("a PEM file: the certificate and those that lead to its root", None)
    private_key: OptionalPath = key("a PEM file: the certificate's private key", None)
    trusted_proxies: tuple[Annotated[types.Network, PlainValidator(types.network)], ...] = several(
        "a list of addresses or networks such as 192.0.2.0/24; empty: no proxy", ()
    )
    session_minutes: int = key("minutes without a click, 1 to 720", 30, ge=1, le=720)
    oidc_issuer: Annotated[str | None, optional(_issuer)] = key(
        "the https URL of an OpenID Connect issuer; absent: accounts of our own", None
    )
    oidc_client_id: Text = key("the client's name with the issuer", "")
    oidc_client_secret_file: OptionalPath = key("a file that holds the client's secret", None)
    oidc_roles: dict[RequiredText, RoleName] = key(
        'a table such as { "ecoute-dpo" = "officer" }; roles: listener, supervisor, officer, administrator',
        {},
    )
    oidc_email_proved: bool = key("true: the issuer gives only addresses that it has proved", False)

    @property
    def origin(self) -> str:
        """What every address of the page begins with, as browsers send it: `https://ecoute.example.net`.

        Empty where there is no page.
        """
        if self.url is not None or self.listen is None:
            return self.url or ""
        scheme = "http" if self.certificate is None else "https"
        return _origin(f"{scheme}://{self.listen}")
