"""TLS towards Redis: the certificate of the server is always verified, and so is its name.

kombu takes a bare `rediss://` for "do not verify". So the URL that everything is given says what
is wanted, in the words that redis-py, kombu and Celery share.
"""

import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# With TLS, of one server and of sentinels; and the same without.
_SCHEMES = {"rediss": "redis", "sentinels": "sentinel"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
_FILES = {
    "ssl_ca_certs": "authority",
    "ssl_certfile": "certificate",
    "ssl_keyfile": "key",
}


def verified(url: str, files: dict[str, Path | None]) -> str:
    """Return the URL of Redis with all that says how its certificate is verified.

    Args:
        url: As it was given; `ssl_ca_certs` and such in its query go before `files`.
        files: Those of `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` that are set.

    Raises:
        ValueError: The URL asks for no verification, or a file cannot be used; says why.
    """
    given = {option: str(path) for option, path in files.items() if path is not None}
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        far = parts.scheme == "sentinel" or parts.hostname not in _LOOPBACK
        if given and far and parts.scheme in _SCHEMES.values():
            raise ValueError(
                f"files for TLS are set, but the URL says {parts.scheme}://: write "
                f"{parts.scheme}s://"
            )
        return url
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    for option, value in _VERIFIED.items():
        if asked.get(option, value).lower() not in (value, "cert_required"):
            raise ValueError(
                f"{option}={asked[option]} would leave the server unverified: name its authority "
                "in BULKSCORE_REDIS_CA_FILE instead"
            )
    options = {**given, **asked, **_VERIFIED}
    _try(options)
    return urlunsplit(parts._replace(query=urlencode(options, safe="/")))


def tls_options(url: str) -> dict[str, Any]:
    """Return the options of TLS in a URL that `verified` made, for Celery and Flower."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        return {}
    asked = {k: v for k, v in parse_qsl(parts.query) if k.startswith("ssl_")}
    return {**asked, "ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}


def _try(options: dict[str, str]) -> None:
    """Load the files once, so that one that cannot be used is named before anything starts."""
    for option, what in _FILES.items():
        if option in options and not os.access(options[option], os.R_OK):
            raise ValueError(f"the {what} {options[option]} cannot be read")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if "ssl_ca_certs" in options:
            context.load_verify_locations(options["ssl_ca_certs"])
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except (ssl.SSLError, OSError):
        named = ", ".join(options[option] for option in _FILES if option in options)
        raise ValueError(f"no certificates in PEM that fit together: {named}") from None
