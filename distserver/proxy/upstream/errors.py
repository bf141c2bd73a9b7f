"""How a question to an upstream can end when it does not end well. Absent is not unavailable."""

from __future__ import annotations


class UpstreamError(Exception):
    """An upstream gave no usable answer. Raise a subclass.

    reason  in words for people; never holds credentials or queries
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class UpstreamAbsent(UpstreamError):
    """The upstream said that it does not have it (404)."""


class UpstreamRefused(UpstreamError):
    """The upstream wants other credentials, or none of us (401, 403)."""


class UpstreamLied(UpstreamError):
    """The answer contradicts itself or the digest: nothing of it may be kept."""


class UpstreamCorrupt(UpstreamLied):
    """All of it came, and the bytes are not those of the digest: to find out cost the link much."""


class UpstreamUnavailable(UpstreamError):
    """No answer, or one that says nothing about the content (429, 5xx, a captive portal's page).

    retry_after  seconds that the upstream asks us to wait; None if it did not
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class UpstreamRangeRefused(UpstreamUnavailable):
    """It has no byte where we asked from (416): what we have of the blob is as long, or longer."""


class UpstreamPage(UpstreamUnavailable):
    """A web page that says 404: of a captive portal, or of a registry that tells it to people."""


class UpstreamLate(UpstreamUnavailable):
    """It has not answered in the time that a client waits; the question goes on."""


class UpstreamStalled(UpstreamUnavailable):
    """It answered, and then nothing came for so long that the fetch was given up."""


class UpstreamOffline(UpstreamUnavailable):
    """Nobody was asked: the operator wants no traffic."""


class UpstreamResting(UpstreamUnavailable):
    """Nobody was asked: it failed a moment ago, and is left alone for a while."""


class UpstreamBusy(UpstreamUnavailable):
    """Nobody was asked: as many fetches as may be are under way."""


FINAL = (UpstreamAbsent, UpstreamRefused, UpstreamLied, UpstreamOffline)
"""What asking again does not mend."""
QUIET = (UpstreamOffline, UpstreamResting, UpstreamBusy)
"""What is no news of the upstream: nobody asked it."""
