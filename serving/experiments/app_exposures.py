"""Exposures in apps: that a member met a variant, as the app says, or as follows from what it asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from serving.experiments.live import LiveView
from streams.errors import FixRequest
from streams.events import MAX_ID_BYTES, is_valid_id
from streams.experiments.definition import Experiment
from streams.impressions import Exposure

MAX_LATE_MS: Final = 86_400_000
"""A device that was offline may tell of the last day."""

MAX_AHEAD_MS: Final = 300_000
"""So far may a device's clock be ahead; what it tells of is now, then."""

MAX_PAGE_ID: Final = 64

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_DEVICE: Final = re.compile(r"[a-z0-9_-]{1,32}")


class AppExposure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an app says: a member met a variant. exposed_at_ms: None for now. page_id: of the page where it was, "" for
    none. country, device: as for the homepage."""

    experiment: str
    variant: str
    member_id: str
    exposed_at_ms: int | None = None
    page_id: str = ""
    country: str = ""
    device: str = ""


def exposure_of(said: AppExposure, view: LiveView, now_ms: int) -> Exposure:
    """Return the exposure that an app tells of, perhaps after the experiment's stop. Raises FixRequest for one that
    cannot have been."""
    experiment = view.allocation.experiments.get(said.experiment) or _stopped(view.experiments.get(said.experiment))
    if experiment is None:
        raise FixRequest(
            "experiment",
            f"there is no experiment {said.experiment[:64]!r} that runs, or was stopped and is not archived yet",
        )
    definition = experiment.definition
    keys = [variant.key for variant in definition.variants]
    if said.variant not in keys:
        raise FixRequest("variant", f"give one of {', '.join(keys)}")
    if not is_valid_id(said.member_id):
        raise FixRequest("member_id", f"give one id of 1 to {MAX_ID_BYTES} bytes without control characters")
    if said.page_id and not (is_valid_id(said.page_id) and len(said.page_id) <= MAX_PAGE_ID):
        raise FixRequest("page_id", "give the page_id that the homepage answered with, or leave it out")
    said_ms = now_ms if said.exposed_at_ms is None else said.exposed_at_ms
    if not max(experiment.started_at_ms or 0, now_ms - MAX_LATE_MS) <= said_ms <= now_ms + MAX_AHEAD_MS:
        raise FixRequest("exposed_at_ms", "give Unix ms since the experiment's start, within the last day")
    if experiment.stopped_at_ms is not None and said_ms >= experiment.stopped_at_ms:
        raise FixRequest("exposed_at_ms", "the experiment was stopped: give Unix ms before that")
    attributes = {"country": said.country.upper(), "device": said.device.lower()}
    country, device = _place(attributes)
    if said.country and not country:
        raise FixRequest("country", "give the two letters of ISO 3166, such as NL, or leave it out")
    if said.device and not device:
        raise FixRequest("device", "give up to 32 letters, digits, - or _, such as tv, or leave it out")
    forced = definition.forced.get(said.member_id) is not None
    return _exposure(
        said.experiment, said.variant, said.member_id, said.page_id, min(said_ms, now_ms), country, device, forced
    )


def evaluated_exposure(
    experiment: str, variant: str, member_id: str, attributes: Mapping[str, str], now_ms: int, *, forced: bool
) -> Exposure:
    """Return the exposure of a member whose variant an app has asked for. What can be no country or device is left
    out."""
    return _exposure(experiment, variant, member_id, "", now_ms, *_place(attributes), forced)


def _stopped(experiment: Experiment | None) -> Experiment | None:
    """Return an experiment if it ran once and does no more."""
    return experiment if experiment is not None and experiment.stopped_at_ms is not None else None


def _exposure(
    experiment: str, variant: str, member_id: str, page_id: str, at_ms: int, country: str, device: str, forced: bool
) -> Exposure:
    return Exposure(
        experiment=experiment,
        variant=variant,
        member_id=member_id,
        page_id=page_id,
        exposed_at_ms=at_ms,
        first=True,
        country=country,
        device=device,
        forced=forced,
        source="app",
    )


def _place(attributes: Mapping[str, str]) -> tuple[str, str]:
    country, device = attributes.get("country", ""), attributes.get("device", "")
    return country if _COUNTRY.fullmatch(country) else "", device if _DEVICE.fullmatch(device) else ""
