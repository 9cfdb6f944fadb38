"""A small real OpenID provider on loopback, by TLS: discovery, keys, codes that are good once, PKCE, a client secret.
What it signs is signed without the library that the console reads it with. A test makes it lie."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from safekit_console import certificate

CLIENT, SECRET = "safekit-consoles", "s3:cret/%&"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Key:
    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public(self) -> dict[str, str]:
        numbers = self._private.public_key().public_numbers()
        return {"kty": "RSA", "use": "sig", "kid": self.kid, "n": number(numbers.n), "e": number(numbers.e)}

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data, padding.PKCS1v15(), hashes.SHA256())


@cache
def first_key() -> Key:
    """It takes a while to find one."""
    return Key("k1")


class Provider:
    def __init__(self, directory: Path) -> None:
        shared = certificate._new_authority("provider")
        (directory / "ca.pem").write_text(shared["certificate"])
        self.ca = directory / "ca.pem"
        self._files = certificate.make(directory, shared, ["localhost"])
        self.key = first_key()
        self.published = [self.key]
        self.claims: dict[str, Any] = {"sub": "id-1", "preferred_username": "bo", "groups": ["operators"]}
        self.header: dict[str, Any] = {"alg": "RS256"}
        self.discovery: dict[str, Any] = {}
        self.asked: list[str] = []
        self.redirects: str = ""
        self._codes: dict[str, dict[str, str]] = {}
        self.issuer = ""

    def authorize(self, place: str) -> str:
        """What the browser is led back to after somebody has signed in there."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = f"code{len(self._codes)}"
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def sign_in_page(self, place: str) -> str:
        """Its own, with a form that leads back."""
        return (
            f'<!doctype html><title>Example</title><h1>Example</h1><form method="post" action="{escape(place)}">'
            '<label>Badge <input name="badge"></label><button>Continue</button></form>'
        )

    def token(self, fields: dict[str, str], authorization: str) -> dict[str, Any] | None:
        asked = self._codes.pop(fields.get("code", ""), None)
        known = b64_client()
        challenge = b64(hashlib.sha256(fields.get("code_verifier", "").encode()).digest())
        if asked is None or authorization != known or asked["code_challenge"] != challenge:
            return None
        if fields.get("redirect_uri") != asked["redirect_uri"]:
            return None
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "exp": now + 60, "iat": now, "nonce": asked["nonce"]}
        return {"id_token": self.signed({**claims, **self.claims}), "token_type": "Bearer", "access_token": "x"}

    def signed(self, claims: dict[str, Any]) -> str:
        header = {"kid": self.key.kid, **self.header}
        data = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        signature = b"" if header["alg"] == "none" else self.key.sign(data.encode())
        return f"{data}.{b64(signature)}"

    def answer(self, path: str, fields: dict[str, str], authorization: str) -> dict[str, Any] | None:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            found = {name: f"{self.issuer}/{place}" for name, place in places.items()}
            return {"issuer": self.issuer, **found, **self.discovery}
        if path == "/keys":
            return {"keys": [key.public() for key in self.published]}
        return self.token(fields, authorization) if path == "/token" else None

    @contextmanager
    def serving(self) -> Iterator[None]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.issuer = f"https://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def b64_client() -> str:
    return "Basic " + base64.b64encode(f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}".encode()).decode()


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/authorize"):
                self._send(200, "text/html", provider.sign_in_page(self.path))
            else:
                self._reply({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if self.path.startswith("/authorize"):
                self._send(302, "text/html", "", provider.authorize(self.path))
            else:
                self._reply({name: values[0] for name, values in parse_qs(body).items()})

        def _reply(self, fields: dict[str, str]) -> None:
            found = provider.answer(self.path, fields, self.headers.get("authorization", ""))
            text = json.dumps(found if found is not None else {"error": "invalid_grant"})
            code = 302 if provider.redirects else 400 if found is None else 200
            self._send(code, "application/json", text, provider.redirects)

        def _send(self, code: int, kind: str, text: str, place: str = "") -> None:
            data = text.encode()
            self.send_response(code)
            if place:
                self.send_header("location", place)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """To nobody."""

    return Handler
