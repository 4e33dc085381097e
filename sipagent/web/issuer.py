"""Asks an OpenID Connect issuer who somebody is: finds its addresses and keys, and checks its tokens.

(OpenID Connect Core 1.0, sections 3.1 and 5.3; Discovery 1.0, section 4. Authlib exchanges, joserfc checks.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from retention.records import RuleError

if TYPE_CHECKING:  # slow to import, and only for who has an issuer
    import httpx2
    from authlib.integrations.httpx_client import OAuth2Client
    from joserfc.jwk import KeySet

BACK = "/login/oidc/back"  # where the browser comes back to
PATIENCE_S = 10.0
FRESH_S = 3600.0  # for which what the issuer published is believed
WISHED = ("openid", "email", "profile")  # of the scopes that it has: some refuse others (ProConnect)
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY_S = 60  # by which its clock and ours may differ
LARGEST = 1 << 20  # bytes of an answer

Claims = Mapping[str, Any]


class IssuerError(RuleError):
    """The issuer cannot be asked, or what it says cannot be believed."""


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login that has begun: what comes back must fit, and comes to this browser alone."""

    address: str  # where the browser is sent
    state: str
    nonce: str
    verifier: str  # RFC 7636


class Issuer:
    """One issuer, asked as one client. Any thread."""

    def __init__(self, url: str, client: str, secret: str, back: str) -> None:
        self.url = url
        self._client = client
        self._secret = secret
        self._back = back  # our address, to which the browser comes back
        self._known: tuple[float, Claims, KeySet] | None = None

    @property
    def host(self) -> str:
        """Its name, as people know it."""
        return urlsplit(self.url).netloc

    def begin(self) -> PendingLogin:
        """Where to send somebody who wants to log in. Raises IssuerError."""
        from authlib.common.security import generate_token

        published, _ = self._published()
        state, nonce, verifier = generate_token(32), generate_token(32), generate_token(48)
        with self._session(published) as session:
            address, _ = session.create_authorization_url(
                published["authorization_endpoint"], state=state, nonce=nonce, **_proof(published, verifier)
            )
        return PendingLogin(address, state, nonce, verifier)

    def end(self, code: str, nonce: str, verifier: str) -> Claims:
        """Exchange the code for the person's claims: of the ID token, and of the endpoint of userinfo.

        Raises IssuerError.
        """
        published, _ = self._published()
        with self._session(published) as session:
            proof = _proof(published, verifier)
            token = _asking(lambda: session.fetch_token(published["token_endpoint"], code=code, **proof))
            claims = self._claims(token.get("id_token"), nonce)
            more = self._userinfo(session, published.get("userinfo_endpoint"), claims)
        return {**more, **claims}

    # --- steps ---

    def _session(self, published: Claims) -> OAuth2Client:
        """A client with the scopes and the authentication that the issuer publishes, else the defaults
        (Discovery 1.0, section 3)."""
        from authlib.integrations.httpx_client import OAuth2Client

        scopes = _listed(published, "scopes_supported") or WISHED
        ways = _listed(published, "token_endpoint_auth_methods_supported")
        by_post = "client_secret_post" in ways and "client_secret_basic" not in ways
        return OAuth2Client(
            self._client,
            self._secret,
            token_endpoint_auth_method="client_secret_post" if by_post else "client_secret_basic",
            scope=" ".join(one for one in WISHED if one in scopes),
            redirect_uri=self._back,
            code_challenge_method="S256",
            timeout=PATIENCE_S,
            follow_redirects=False,
        )

    def _published(self, *, anew: bool = False) -> tuple[Claims, KeySet]:
        """The issuer's published metadata and keys, fetched once an hour. Raises IssuerError."""
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        if self._known is not None and not anew and monotonic() - self._known[0] < FRESH_S:
            return self._known[1], self._known[2]
        with self._session({}) as session:
            where = f"{self.url.rstrip('/')}/.well-known/openid-configuration"
            published = _object(_asking(lambda: session.request("GET", where, withhold_token=True)))
            if published.get("issuer") != self.url:
                raise IssuerError(f"the issuer calls itself {published.get('issuer')!r}")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(published.get(name), str):
                    raise IssuerError(f"the issuer does not say its {name}")
            keys = _object(
                _asking(lambda: session.request("GET", published["jwks_uri"], withhold_token=True))
            )
        try:
            known = KeySet.import_key_set({"keys": keys.get("keys", [])})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise IssuerError(f"the keys of the issuer cannot be read: {error}") from error
        self._known = monotonic(), published, known
        return published, known

    def _claims(self, text: object, nonce: str) -> Claims:
        """The checked claims of an ID token (Core 1.0, 3.1.3.7). Raises IssuerError."""
        from joserfc.errors import JoseError
        from joserfc.jwt import JWTClaimsRegistry

        claims = self._signed(text)
        try:
            JWTClaimsRegistry(
                leeway=LEEWAY_S,
                iss={"essential": True, "value": self.url},
                aud={"essential": True, "value": self._client},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(dict(claims))
        except (JoseError, ValueError, TypeError) as error:
            raise IssuerError(f"the ID token is not good: {error}") from error
        if claims.get("azp", self._client) != self._client or not isinstance(claims["sub"], str):
            raise IssuerError("the ID token is for another client")
        return claims

    def _signed(self, text: object) -> Claims:
        """The claims of a signed token; unknown keys are fetched anew once."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if not isinstance(text, str):
            raise IssuerError("the issuer sends no ID token")
        for anew in (False, True):
            try:
                return jwt.decode(text, self._published(anew=anew)[1], algorithms=ALGORITHMS).claims
            except (JoseError, ValueError, TypeError) as error:
                if anew:
                    raise IssuerError(f"what the issuer signed is not good: {error}") from error
        raise AssertionError("the loop has ended")

    def _userinfo(self, session: OAuth2Client, where: object, claims: Claims) -> Claims:
        """More claims about the same person; some issuers sign them (ProConnect). Raises IssuerError."""
        if not isinstance(where, str):
            return {}
        answer = _asking(lambda: session.get(where))
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        more = self._signed(_body(answer).strip()) if kind == "application/jwt" else _object(answer)
        if more.get("sub") != claims["sub"]:
            raise IssuerError("the issuer speaks of somebody else at its userinfo_endpoint")
        return more


def _listed(published: Claims, name: str) -> list[str]:
    """A list that the issuer publishes under this name; empty for anything else."""
    found = published.get(name)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _proof(published: Claims, verifier: str) -> dict[str, str]:
    """PKCE (RFC 7636): binds the code to this login, if the issuer supports it (RFC 8414, section 2).

    Else the nonce alone does: some refuse what they do not know (ProConnect).
    """
    known = "S256" in _listed(published, "code_challenge_methods_supported")
    return {"code_verifier": verifier} if known else {}


def _asking(ask: Callable[[], Any]) -> Any:
    """The issuer's answer. Raises IssuerError."""
    import httpx2
    from authlib.common.errors import AuthlibBaseError

    try:
        return ask()
    except (httpx2.HTTPError, AuthlibBaseError, ValueError) as error:
        raise IssuerError(
            f"the issuer does not answer as it should: {error or type(error).__name__}"
        ) from error


def _body(answer: httpx2.Response) -> str:
    if answer.status_code != 200 or len(answer.content) > LARGEST:
        raise IssuerError(f"the issuer answers {answer.status_code}")
    return str(answer.text)


def _object(answer: httpx2.Response) -> dict[str, Any]:
    _body(answer)
    try:
        found = answer.json()
    except ValueError as error:
        raise IssuerError("the issuer answers with what is no JSON") from error
    if not isinstance(found, dict):
        raise IssuerError("the issuer answers with what is no object")
    return found
