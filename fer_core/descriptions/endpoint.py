"""Whom to ask, what comes back, and how much may be spent."""

import threading
from dataclasses import dataclass
from ipaddress import ip_address

import httpx2

from fer_core.errors import UserError


class StoppedError(Exception):
    """Nothing more may be asked."""


@dataclass(frozen=True)
class Endpoint:
    """Whom to ask, and how patiently.

    Args:
        base_url: Address before ``/chat/completions``, such as ``http://localhost:8000/v1``.
        model: Name of the model there.
        key_variable: Environment variable that holds the key; None sends no key.
        timeout: Seconds for one attempt, from the request to the answer's end.
        attempts: How often one question is sent at most.
        first_wait: Seconds before the second attempt; each further wait is up to twice as long.
        longest_wait: Seconds that are waited at most, whether or not the server asks for more.
    """

    base_url: str
    model: str
    key_variable: str | None = None
    timeout: float = 120.0
    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def __post_init__(self) -> None:
        try:
            url = httpx2.URL(self.base_url)
        except httpx2.InvalidURL as error:
            raise UserError(
                "base URL: expected an address such as http://localhost:8000/v1, got none; see --base-url"
            ) from error
        if url.scheme not in ("http", "https") or not url.host:
            raise UserError("base URL: expected http:// or https:// and a host, got neither; see --base-url")
        # A key in the address would end up in messages and logs; it is not repeated here either.
        if url.userinfo or url.query or url.fragment:
            raise UserError(
                "base URL: expected an address without user, query or fragment; give the key by --key-variable"
            )
        if not self.model.strip():
            raise UserError("model: expected the name of a model, got none; see --model")
        for name in ("timeout", "attempts", "first_wait", "longest_wait"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: expected a number above 0, got {getattr(self, name)!r}; raise it")

    @property
    def host(self) -> str:
        """The host's name."""
        return httpx2.URL(self.base_url).host

    @property
    def is_this_machine(self) -> bool:
        """Whether what is sent stays on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Args:
        text: Its words.
        prompt_tokens: What the server counted; None where it does not say.
        completion_tokens: Likewise, of the answer.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Budget:
    """Limits over all requests of a run; several threads may draw on it.

    Args:
        requests: How many requests may be sent, repeated attempts included; None for any number.
        tokens: How many tokens may be spent on questions and answers together; None for any number.

    Attributes:
        sent: Requests so far.
        spent: Tokens so far, as the server counts them, or as estimated where it does not.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        for name, value in (("requests", requests), ("tokens", tokens)):
            if value is not None and value < 1:
                raise UserError(f"most {name}: expected a number of at least 1, got {value}; leave it out for no limit")
        self.requests, self.tokens = requests, tokens
        self.sent = self.spent = 0
        self._lock = threading.Lock()

    def reserve(self, tokens: int) -> None:
        """Counts a request that is about to be sent.

        Raises:
            StoppedError: If a limit would be passed.
        """
        with self._lock:
            if self.requests is not None and self.sent >= self.requests:
                raise StoppedError(f"{self.sent} requests were sent, which is the limit")
            if self.tokens is not None and self.spent + tokens > self.tokens:
                raise StoppedError(f"about {self.spent} tokens were spent, and the limit is {self.tokens}")
            self.sent += 1
            self.spent += tokens

    def settle(self, reserved: int, used: int) -> None:
        """Replaces a reservation by what was really used."""
        with self._lock:
            self.spent += used - reserved
