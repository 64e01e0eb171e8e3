"""What a homepage is asked for with: the query string, read and checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from serving.homepage.page_cache import PageKey
from serving.homepage.treatment import NO_TREATMENT, NoExperiments, Treatment, Treatments
from streams.errors import FixRequest
from streams.events import MAX_ID_BYTES, is_valid_id

MAX_QUERY_BYTES: Final = 2_048
"""An id of 128 bytes takes 384 when all of them are escaped."""

MAX_DEVICE_CHARS: Final = 32
MAX_FIELDS: Final = 32

REMEMBERED: Final = 20_000
"""Query strings whose reading is remembered, twice at most; each takes about 500 bytes, and 1,000 at most."""

MAX_REMEMBERED_BYTES: Final = 256
"""A longer query string is read each time: it would take as much room as several that are asked again."""

_PARAMETERS: Final = ("member_id", "country", "device")


class HomepageRequest:
    """A checked request: the page's key and treatment, the model to make it with (a name, None for the champion), and
    the member's key in the stores."""

    __slots__ = ("key", "member_key", "model", "treatment")

    def __init__(
        self, member_id: str, country: str = "", device: str = "", treatment: Treatment = NO_TREATMENT
    ) -> None:
        self.key = PageKey(member_id, country, device, treatment.key)
        self.member_key = member_id.encode()
        self.treatment = treatment
        self.model = treatment.model


Treat = Callable[[str, str, str], Treatment]
"""Returns a member's treatment, by member id, country and device."""


def parse_request(query: bytes, treat: Treat = lambda *_: NO_TREATMENT) -> HomepageRequest:
    """Return the request in a query string. Raises FixRequest naming the parameter and the fix.

    Other parameters are ignored. country: two ASCII letters, in any case; device: up to 32 of a-z, 0-9, `-`, `_`.
    """
    values = _parameters(query)
    member_id = values.get("member_id", "")
    if not is_valid_id(member_id):
        raise FixRequest("member_id", f"give one id of 1 to {MAX_ID_BYTES} bytes without control characters")
    country, device = _country(values.get("country", "")), _device(values.get("device", ""))
    return HomepageRequest(member_id, country, device, treat(member_id, country, device))


class RequestMemo:
    """Remembers what query strings say, and their treatment: most are asked again. Bounded, by forgetting the older
    half at once; all is forgotten when the running experiments change."""

    def __init__(self, treatments: Treatments | None = None, size: int = REMEMBERED) -> None:
        """treatments: None where no experiments are followed."""
        self._treatments = treatments = treatments or Treatments(NoExperiments())
        self._live = treatments.live
        self._view = self._live.view
        self._allocation = self._live.current
        self._size = size
        self._newer: dict[bytes, HomepageRequest] = {}
        self._older: dict[bytes, HomepageRequest] = {}

    def parse(self, query: bytes) -> HomepageRequest:
        """Return `parse_request(query)`, treated. Raises FixRequest likewise."""
        if self._live.view is not self._view:
            self._look()
        return self._newer.get(query) or self._parse(query)

    def _parse(self, query: bytes) -> HomepageRequest:
        request = self._older.get(query) or parse_request(query, self._treatments.of)
        if len(query) > MAX_REMEMBERED_BYTES:
            return request
        if len(self._newer) >= self._size:
            self._older, self._newer = self._newer, {}
        self._newer[query] = request
        return request

    def _look(self) -> None:
        """See whether members' treatments have changed. The view is read first: a change between is then looked at."""
        self._view = self._live.view
        if self._live.current is not self._allocation:
            self._allocation = self._live.current
            self._newer, self._older = {}, {}


def _parameters(query: bytes) -> dict[str, str]:
    if len(query) > MAX_QUERY_BYTES:
        raise FixRequest("member_id", f"give a query string of at most {MAX_QUERY_BYTES} bytes")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise FixRequest("member_id", "escape the query string as percent-encoded UTF-8") from None
    except ValueError:
        raise FixRequest("member_id", f"give at most {MAX_FIELDS} parameters") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in _PARAMETERS and values.setdefault(name, value) != value:
            raise FixRequest(name, "give it once")
    return values


def _country(text: str) -> str:
    if text and not (len(text) == 2 and text.isascii() and text.isalpha()):
        raise FixRequest("country", "give the two letters of ISO 3166, such as NL, or leave it out")
    return text.upper()


def _device(text: str) -> str:
    known = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    if text and not (known and len(text) <= MAX_DEVICE_CHARS):
        raise FixRequest(
            "device", f"give up to {MAX_DEVICE_CHARS} letters, digits, - or _, such as tv, or leave it out"
        )
    return text.lower()
