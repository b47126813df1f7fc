"""What the load generator sends: a pure function of seed, count and mix, the same on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

TRACKS = 10_000  # what the store seeds by default
CUSTOMERS = 200
GENRES = ("Rock", "Jazz", "Metal", "Blues", "Latin", "Pop", "Folk", "Soul", "Ambient", "Country")
WORDS = ("amber", "canyon", "ember", "harbour", "lantern", "river", "silver", "thunder", "velvet", "winter")


@dataclass(frozen=True)
class Request:
    """One planned request and what the store must answer."""

    method: str
    path: str
    route: str  # the rule as Flask writes it
    body: str | None = None  # JSON
    status: int | None = 200  # None: depends on the circuit breaker, 200 or 503
    slow: float = 0.0  # takes at least this many seconds

    @property
    def fails(self) -> bool:
        """Whether the answer is certain to be a server error (status >= 500)."""
        return self.status is not None and self.status >= 500

    @property
    def name(self) -> str:
        """Method and route: the key of the report."""
        return f"{self.method} {self.route}"


# A kind of request and its weight. A mix with "flaky" trips the breaker, so its lyrics have no sure status.
_BROWSE = {"home": 6, "tracks": 14, "track": 20, "album": 10, "artist": 6, "search": 8}
_SHOP = {"checkout": 8, "recommend": 8, "lyrics": 7, "preload": 3, "controllers": 2, "stream": 5}
MIXES: dict[str, dict[str, int]] = {
    "default": {**_BROWSE, **_SHOP, "fail": 2, "missing": 1, "slow": 1},
    "browse": _BROWSE,
    "errors": {**_BROWSE, **_SHOP, "fail": 30, "missing": 6},
    "slow": {**_BROWSE, **_SHOP, "slow": 15, "very_slow": 4, "slow_plugin": 5},
    "flaky": {**_BROWSE, "flaky": 60},
    "stream": {"track": 10, "preload": 20, "controllers": 5, "stream": 40, "stalled": 5},
}


def plan(seed: int, count: int, mix: str = "default", tracks: int = TRACKS) -> list[Request]:
    """The first `count` requests of a mix (a key of MIXES). A longer plan begins with the shorter one.

    `tracks` is how many the store was seeded with. Raises KeyError on an unknown mix.
    """
    planner = _Planner(seed, tracks)
    kinds = [kind for kind, weight in MIXES[mix].items() for _ in range(weight)]
    return [getattr(planner, kinds[planner.below(len(kinds))])() for _ in range(count)]


class _Planner:
    """One method a kind of request."""

    def __init__(self, seed: int, tracks: int) -> None:
        self._rng = random.Random(seed)
        self._tracks = tracks
        self._albums = -(-tracks // 10)
        self._artists = -(-self._albums // 4)
        self._calm = 0  # lyrics to come before one may fail again

    def below(self, limit: int) -> int:
        # Only random() is promised to give the same sequence in every Python.
        return int(self._rng.random() * limit)

    def _pick(self, items: Sequence[Any]) -> Any:
        return items[self.below(len(items))]

    def _track_id(self) -> int:
        return 1 + self.below(self._tracks)

    def home(self) -> Request:
        return Request("GET", "/", "/")

    def tracks(self) -> Request:
        genre = quote(self._pick(GENRES))
        return Request("GET", f"/tracks?genre={genre}&page={1 + self.below(5)}", "/tracks")

    def track(self) -> Request:
        return Request("GET", f"/tracks/{self._track_id()}", "/tracks/<int:track_id>")

    def album(self) -> Request:
        return Request("GET", f"/albums/{1 + self.below(self._albums)}", "/albums/<int:album_id>")

    def artist(self) -> Request:
        path = f"/artists/{1 + self.below(self._artists)}/albums"
        return Request("GET", path, "/artists/<int:artist_id>/albums")

    def search(self) -> Request:
        return Request("GET", f"/search?q={self._pick(WORDS)}", "/search")

    def checkout(self) -> Request:
        basket = sorted({self._track_id() for _ in range(1 + self.below(5))})
        body = json.dumps({"customer_id": 1 + self.below(CUSTOMERS), "track_ids": basket})
        return Request("POST", "/checkout", "/checkout", body, 201)

    def recommend(self, query: str = "", slow: float = 0.0) -> Request:
        path = f"/recommendations/{1 + self.below(CUSTOMERS)}{query}"
        return Request("GET", path, "/recommendations/<int:customer_id>", slow=slow)

    def slow_plugin(self) -> Request:
        return self.recommend("?delay=0.5", 0.5)

    def lyrics(self) -> Request:
        track_id = self._track_id()
        if track_id % 10 == 3:  # the upstream fails for these
            if self._calm:
                # Never enough failures near each other to open the breaker: every status stays certain.
                track_id += 1 if track_id < self._tracks else -1
            else:
                self._calm = 6
        self._calm = max(0, self._calm - 1)
        status = 503 if track_id % 10 == 3 else 200
        return Request("GET", f"/lyrics/{track_id}", "/lyrics/<int:track_id>", status=status)

    def flaky(self) -> Request:
        track_id = self._track_id()
        if self.below(2):
            track_id = track_id // 10 * 10 + 3
            if track_id > self._tracks:
                track_id = 3
        status = 503 if track_id % 10 == 3 else None
        return Request("GET", f"/lyrics/{track_id}", "/lyrics/<int:track_id>", status=status)

    def preload(self) -> Request:
        ids = sorted({self._track_id() for _ in range(1 + self.below(3))})
        return Request("POST", "/preload", "/preload", json.dumps({"track_ids": ids}), 202)

    def controllers(self) -> Request:
        return Request("GET", "/controllers", "/controllers")

    def stream(self) -> Request:
        return Request("GET", f"/stream/{self._track_id()}", "/stream/<int:track_id>")

    def stalled(self) -> Request:
        # A file has at least two chunks, so at least one stall.
        path = f"/stream/{self._track_id()}?stall=0.2"
        return Request("GET", path, "/stream/<int:track_id>", slow=0.2)

    def fail(self) -> Request:
        return Request("GET", f"/fail?kind={self._pick(('exception', 'db'))}", "/fail", status=500)

    def missing(self) -> Request:
        return Request(
            "GET", f"/tracks/{self._tracks + self._track_id()}", "/tracks/<int:track_id>", status=404
        )

    def slow(self, seconds: float = 0.6) -> Request:
        return Request(
            "GET", f"/slow?seconds={seconds}&where={self._pick(('app', 'db'))}", "/slow", slow=seconds
        )

    def very_slow(self) -> Request:
        return self.slow(3.2)
